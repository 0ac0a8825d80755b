"""How did this session end?"""
