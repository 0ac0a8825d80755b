"""The local town: control plane and process node on loopback, for laptops and CI (gt up)."""
