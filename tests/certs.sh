#!/bin/bash
# certs.sh DIRECTORY: the certificates of the TLS tests, made anew by openssl.
# Nothing is done when they are there and not older than this script.

dir=${1:?directory}
if [ "$dir/done" -nt "$0" ]; then exit 0; fi
mkdir -p "$dir" && cd "$dir" || exit 1
exec 2>openssl.log

# key NAME rsa|ec [BITS]
use=
key() {
    if [ "$2" = ec ]; then
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
            -out "$1.key"
    else
        openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:${3:-2048}" \
            -out "$1.key"
    fi
}

# ca NAME KIND [ISSUER]: a root, or an intermediate below ISSUER
ca() {
    key "$1" "$2"
    openssl req -new -key "$1.key" -subj "/O=asyncweb tests/CN=$1" -out "$1.csr"
    { echo basicConstraints=critical,CA:TRUE
      echo keyUsage=critical,keyCertSign,cRLSign; } >"$1.ext"
    sign "$1" "${3:-$1}" 20200101000000Z 20991231235959Z
}

# sign NAME ISSUER FROM UNTIL [DIGEST]; by itself when ISSUER is NAME. Older
# versions of openssl have dates of one's own in `ca` only.
sign() {
    local by=(-cert "$2.pem" -keyfile "$2.key")
    if [ "$1" = "$2" ]; then by=(-selfsign -keyfile "$1.key"); fi
    rm -rf ca && mkdir ca && : >ca/index
    openssl rand -hex 8 >ca/serial
    cat >ca/cnf <<CNF
[ca]
default_ca = c
[c]
database = ca/index
new_certs_dir = ca
serial = ca/serial
default_md = ${5:-sha256}
policy = p
[p]
commonName = supplied
organizationName = optional
CNF
    openssl ca -batch -config ca/cnf "${by[@]}" -in "$1.csr" -startdate "$3" \
        -enddate "$4" -extfile "$1.ext" -notext -out "$1.pem"
    rm -rf ca
}

# leaf NAME KIND ISSUER SAN [FROM] [UNTIL] [DIGEST] [BITS]; for $use, if set
leaf() {
    key "$1" "$2" "${8:-2048}"
    openssl req -new -key "$1.key" -subj "/O=asyncweb tests/CN=$1" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\nsubjectAltName=%s\n' "$4" >"$1.ext"
    if [ "$use" ]; then echo "extendedKeyUsage=$use" >>"$1.ext"; fi
    sign "$1" "$3" "${5:-20200101000000Z}" "${6:-20991231235959Z}" \
        "${7:-sha256}"
}

ca root rsa
ca ecroot ec
ca stranger ec
ca middle ec root

leaf good rsa root DNS:good.test,DNS:localhost,IP:127.0.0.1,IP:::1
leaf ec ec ecroot DNS:good.test,DNS:localhost,IP:127.0.0.1,IP:::1
leaf under rsa middle DNS:good.test
cat under.pem middle.pem >chain.pem
leaf wild ec ecroot 'DNS:*.wild.test'
leaf wide ec ecroot 'DNS:*.test'
leaf other ec ecroot DNS:other.test
leaf address ec ecroot IP:192.0.2.7,IP:2001:db8::7
leaf expired ec ecroot DNS:good.test,DNS:localhost 20200101000000Z 20210101000000Z
leaf early ec ecroot DNS:good.test,DNS:localhost 20900101000000Z 20990101000000Z
leaf self ec self DNS:good.test,DNS:localhost
leaf strange ec stranger DNS:good.test,DNS:localhost
leaf sha1 rsa root DNS:good.test 20200101000000Z 20991231235959Z sha1
leaf short rsa root DNS:good.test 20200101000000Z 20991231235959Z sha256 1024
leaf alice ec ecroot DNS:alice
leaf mallory ec stranger DNS:mallory
use=serverAuth,clientAuth leaf both ec ecroot DNS:good.test
use=clientAuth leaf client ec ecroot DNS:good.test
use=emailProtection,serverAuth leaf server ec ecroot DNS:good.test
use=anyExtendedKeyUsage leaf any ec ecroot DNS:good.test
leaf forged ec other DNS:good.test
cat forged.pem other.pem >forged-chain.pem
cat root.pem ecroot.pem >roots.pem
openssl x509 -in good.pem -outform DER -out good.der
for n in good ec; do
    openssl x509 -in $n.pem -pubkey -noout | openssl pkey -pubin -outform DER |
        openssl dgst -sha256 -binary | openssl base64 -A >$n.pin
done
for f in *.key; do
    n=${f%.key}
    openssl x509 -in "$n.pem" -noout || exit 1
done
rm -f ./*.csr ./*.ext
: >done
