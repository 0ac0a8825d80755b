//go:build tools

// Package binaries pins the etcd of the local town; `gt up` builds it from this module.
package binaries

import _ "go.etcd.io/etcd/server/v3"
