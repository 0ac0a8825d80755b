"""The process node: a node agent that runs pods as sandboxed host processes."""
