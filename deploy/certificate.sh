#!/bin/sh
# A self-signed certificate for trying Weir out: tls/weir.crt and tls/weir.key beside this script.
#   deploy/certificate.sh [HOST]     HOST is what clients connect to, localhost by default
set -eu
host="${1:-localhost}"
cd "$(dirname "$0")"
mkdir -p tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
    -keyout tls/weir.key -out tls/weir.crt 2>/dev/null
# The user that Weir runs as in its image must read the key, and nobody else.
chmod 600 tls/weir.key
if [ "$(id -u)" = 0 ]; then chown 65532:65532 tls/weir.key; else sudo chown 65532:65532 tls/weir.key; fi
echo "tls/weir.crt and tls/weir.key are made for $host"
