#!/bin/sh
# Plays `cargo-target-test`: says where the test's own broker listens.
[ "$*" = "broker --ensure" ] && echo "$SOCKET"
