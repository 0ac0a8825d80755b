"""The control loop without a Gas Town word in it: store, work queue, feeds, controller, executor, metrics."""
