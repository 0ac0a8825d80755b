"""Git for Gas Town: repositories, merging, the refinery kernel and the repo server; knows neither Kubernetes nor gastown."""
