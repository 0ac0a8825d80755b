"""The merge queue: kernel (moves main), planner (pure), evidence."""
