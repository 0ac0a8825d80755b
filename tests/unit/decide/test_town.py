"""What is in the town, and is it stopped?"""
