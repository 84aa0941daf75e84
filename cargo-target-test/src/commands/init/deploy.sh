#!/bin/sh
# Creates an instance. Standard input is one line of JSON; `unique` in it names what is created.
# The last line of the output tells how the instance is reached: {"host": "192.0.2.7", "user": "root"} for SSH.
set -eu
read -r line
unique=$(printf '%s' "$line" | sed 's/.*"unique":"\([^"]*\)".*/\1/')

# In place of a machine: a folder, and commands that run on this host.
mkdir -p "target-test/machines/$unique"
echo '{"host": "localhost", "transport": "local"}'
