"""Can sessions run with this profile?"""
