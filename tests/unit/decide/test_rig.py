"""Is this rig ready for work?"""
