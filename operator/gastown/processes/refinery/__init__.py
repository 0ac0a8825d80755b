"""The refinery: takes submitted heads in, has candidates gated, lands what is green. The only writer of main, through the kernel."""
