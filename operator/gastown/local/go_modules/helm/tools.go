//go:build tools

// Package binaries pins the helm of the local town; `gt up` builds it from this module.
package binaries

import _ "helm.sh/helm/v4/cmd/helm"
