#!/bin/sh
# Deletes an instance, also one that was created in part or is gone already. Standard input as for `deploy`.
set -eu
read -r line
unique=$(printf '%s' "$line" | sed 's/.*"unique":"\([^"]*\)".*/\1/')

rm -rf "target-test/machines/$unique"
