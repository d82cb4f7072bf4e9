#!/bin/sh
# The tables of cases: one line for each, the failed ones by id. See integration/cases.rs.
set -eu
cd "$(dirname "$0")/.."
exec cargo test --quiet --test cases
