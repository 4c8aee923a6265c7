#!/usr/bin/env bash
# A PostgreSQL server for tests: a private cluster in a temporary folder, on a free port of loopback, with a password
# and TLS, run by an ordinary user, and gone afterwards. Installs the Debian package `postgresql` if there is none.
#
#   server.sh run COMMAND ...   runs the command with SEALPOST_TEST_POSTGRES set, then stops the server
#   server.sh start             prints the lines to be sourced: SEALPOST_TEST_POSTGRES and what belongs to it
#   server.sh stop FOLDER       stops the server of that folder (SEALPOST_TEST_POSTGRES_FOLDER) and removes it
set -euo pipefail

main() {
  case "${1:-}" in
    run)
      shift
      folder=$(make)
      trap 'stop "$folder"' EXIT
      set -a
      # shellcheck disable=SC1091
      . "$folder/env"
      set +a
      "$@"
      ;;
    start) cat "$(make)/env" ;;
    stop) stop "${2:?the folder}" ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
}

# Prints its folder.
make() {
  local bin folder port password
  bin=$(programs)
  folder=$(mktemp -d "${TMPDIR:-/tmp}/sealpost-postgres.XXXXXX")
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s' "$password" >"$folder/password"
  mkdir "$folder/data"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$folder/server.key" -out "$folder/server.crt" 2>/dev/null
  chmod 600 "$folder/server.key"
  [ "$(id -u)" = 0 ] && chown -R postgres: "$folder"
  as_user "$bin/initdb" -D "$folder/data" -U sealpost --pwfile="$folder/password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; return 1; }
  port=$(free_port)
  cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 300
shared_buffers = '128MB'
ssl = on
ssl_cert_file = '$folder/server.crt'
ssl_key_file = '$folder/server.key'
CONF
  as_user "$bin/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w start >/dev/null ||
    { cat "$folder/server.log" >&2; return 1; }
  printf '%s' "$bin" >"$folder/bin"
  cat >"$folder/env" <<ENV
SEALPOST_TEST_POSTGRES=postgres://sealpost:$password@127.0.0.1:$port/postgres
SEALPOST_TEST_POSTGRES_CA=$folder/server.crt
SEALPOST_TEST_POSTGRES_FOLDER=$folder
ENV
  [ "$(id -u)" = 0 ] && chmod 755 "$folder"
  echo "$folder"
}

stop() {
  local folder=$1
  as_user "$(cat "$folder/bin")/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}

# initdb and the server refuse root.
as_user() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

programs() {
  local found
  found=$(find_programs) && { echo "$found"; return; }
  command -v apt-get >/dev/null || { echo "no PostgreSQL here, and no apt-get to install it with" >&2; return 1; }
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql openssl >&2
  find_programs
}

find_programs() {
  local folder
  for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(dirname "$(command -v initdb || echo /none/x)")"; do
    [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ] && { echo "$folder"; return; }
  done
  return 1
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

main "$@"
