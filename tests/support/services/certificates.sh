#!/usr/bin/env bash
# Certificates for the services that speak TLS: certificates.sh DIR makes them once, for a week.
#   ca.pem                      signs the rest; what a client must trust
#   server.pem server.key       for the name `localhost` only: 127.0.0.1 is the wrong host
#   expired.pem expired.key     the same, but over
#   client.pem client.key       a client's; client-encrypted.key is the same key, locked with the password in CLIENT_KEY_PASSWORD
#   stranger-ca.pem stranger.pem stranger.key   an authority nobody trusts, and a client's certificate of it
#   *.both.pem                  key and certificate in one file, as Kafka and mongod want them
set -euo pipefail

dir=${1:?usage: certificates.sh DIR}
: "${CLIENT_KEY_PASSWORD:=canary-key-password}"
mkdir -p "$dir"
exec 8>"$dir/lock"
flock 8   # services start side by side
[ ! -f "$dir/done" ] || exit 0
command -v openssl >/dev/null || { echo "certificates.sh: openssl is missing; run ./x setup" >&2; exit 1; }
cd "$dir"

quiet() { "$@" >>log 2>&1 || { tail -n 5 log >&2; exit 1; }; }

cat >openssl.cnf <<'CNF'
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:false
subjectAltName = DNS:localhost
# mongod shows its certificate as a client, too
extendedKeyUsage = serverAuth, clientAuth
[client]
basicConstraints = CA:false
extendedKeyUsage = clientAuth
[ca]
default_ca = signer
[signer]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
CNF
: >index.txt

key() { quiet openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

authority() { # NAME
    key "$1"
    quiet openssl req -x509 -new -config openssl.cnf -extensions authority -key "$1.key" -subj "/CN=$1" -days 7 -out "$1.pem"
}

at() { date -u -d "$1" +%y%m%d%H%M%SZ; }

# signed NAME AUTHORITY EXTENSIONS [FROM UNTIL]
signed() {
    key "$1"
    quiet openssl req -new -config openssl.cnf -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    quiet openssl ca -batch -notext -config openssl.cnf -extensions "$3" -cert "$2.pem" -keyfile "$2.key" -in "$1.csr" \
        -startdate "$(at "${4:-1 hour ago}")" -enddate "$(at "${5:-7 days}")" -out "$1.pem"
    cat "$1.key" "$1.pem" >"$1.both.pem"
}

# A start that was cut off left half of it.
rm -f ./*.pem ./*.key ./*.csr
authority ca
authority stranger-ca
signed server ca server
signed expired ca server "9 days ago" "2 days ago"
signed client ca client
signed stranger stranger-ca client
export CLIENT_KEY_PASSWORD
quiet openssl pkcs8 -topk8 -in client.key -out client-encrypted.key -passout env:CLIENT_KEY_PASSWORD
chmod 600 ./*.key ./*.both.pem
touch "done"
