"""Gas Town on Kubernetes: kinds, deciders, control loop, processes and command lines."""
