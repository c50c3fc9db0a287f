#!/bin/sh
# Copies the jars that a pom.xml names into a folder, once: resolve.sh POM FOLDER
set -eu
pom=$1 folder=$2
[ -e "$folder/complete" ] && exit 0
command -v mvn >/dev/null || { echo "Maven (mvn) is missing. Debian: apt-get install maven; or run scripts/setup" >&2; exit 1; }
mkdir -p "$folder"
# Into a folder of our own first: two processes may resolve at once, and a broken-off one must leave nothing behind.
fresh=$(mktemp -d "$folder.XXXXXX")
mvn --batch-mode --quiet -f "$pom" dependency:copy-dependencies -DoutputDirectory="$fresh" -DincludeScope=runtime >&2
cp -n "$fresh"/*.jar "$folder"/
rm -rf "$fresh"
touch "$folder/complete"
