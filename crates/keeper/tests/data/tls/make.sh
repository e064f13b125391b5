#!/bin/sh
# Makes the key stores of this directory, with keytool of JDK 17 and OpenSSL 3. Their password is "secret".
set -e
cd "$(dirname "$0")"
rm -f ./*.jks ./*.p12 ./*.pem
keytool -genkeypair -alias server -keyalg RSA -keysize 2048 -dname "CN=server,O=Example\, Inc." -ext san=dns:localhost -validity 36500 \
    -storetype JKS -keystore key.jks -storepass secret -keypass secret
keytool -genkeypair -alias ec -keyalg EC -groupname secp256r1 -dname "CN=ec" -ext san=dns:localhost -validity 36500 \
    -storetype PKCS12 -keystore ec.p12 -storepass secret
keytool -exportcert -alias server -keystore key.jks -storepass secret -file server.der
for type in JKS PKCS12; do
    name=trust.$(echo $type | sed s/JKS/jks/\;s/PKCS12/p12/)
    keytool -importcert -noprompt -alias ca -file server.der -storetype $type -keystore "$name" -storepass secret
done
convert() { keytool -importkeystore -srckeystore key.jks -srcstorepass secret -deststoretype PKCS12 -deststorepass secret "$@"; }
convert -destkeystore key.p12
old() { echo "-J-Dkeystore.pkcs12.$1=$2"; }
# As JDK 8 wrote them.
convert "$(old certProtectionAlgorithm PBEWithSHA1AndRC2_40)" "$(old certPbeIterationCount 2000)" "$(old macAlgorithm HmacPBESHA1)" \
    "$(old keyProtectionAlgorithm PBEWithSHA1AndDESede)" "$(old keyPbeIterationCount 2000)" "$(old macIterationCount 2000)" \
    -destkeystore key-legacy.p12
openssl pkcs12 -in key.p12 -passin pass:secret -nodes -out key.pem
openssl pkcs12 -export -in key.pem -passout pass:secret -out key-openssl.p12
openssl pkcs8 -topk8 -in key.pem -passout pass:secret -v2 aes-256-cbc -out key-encrypted.pem
openssl x509 -in key.pem >> key-encrypted.pem
rm server.der
