"""Front doors of the daemons, a module per row of the process table; only here (and in cli) Kubernetes meets git."""
