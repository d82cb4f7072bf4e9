#!/usr/bin/env bash
# Many identities over one link that is cut again and again, one of them refused throughout; in
# `make test` it is part of scripts/faults.sh.
# LINK_IDENTITIES (200), LINK_SECONDS (20), LINK_CUT_SECONDS (3), LINK_SEED (1). The full size:
#   LINK_IDENTITIES=1000 LINK_SECONDS=120 LINK_CUT_SECONDS=5 scripts/link.sh
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1
need_rust
need_cc
step "${LINK_IDENTITIES:-200} identities, the link cut for ${LINK_SECONDS:-20} s, seed ${LINK_SEED:-1}"
set +e # what failed is told at the end
cargo test --quiet --locked --features faults --test link -- --nocapture
status=$?
cargo build --quiet --locked --bins || die "the programs cannot be built" # without the faults
exit "$status"
