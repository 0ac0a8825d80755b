"""Where is a bead's work on its way to main?"""
