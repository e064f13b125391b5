"""Throw-away certificates: an authority, a server's and a client's, and what zoo.cfg says of them."""
import os
import subprocess


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, capture_output=True)


def certificates(folder):
    """ca.pem, server.pem (key and certificate), client.pem and client.key in `folder`."""
    def path(name):
        return os.path.join(folder, name)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=authority",
            "-keyout", path("ca.key"), "-out", path("ca.pem"))
    with open(path("names"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name, subject in [("server", "/CN=localhost"), ("client", "/O=Foreign/CN=tour")]:
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", path(name + ".key"),
                "-out", path("request"))
        openssl("x509", "-req", "-days", "30", "-in", path("request"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"),
                "-CAcreateserial", "-extfile", path("names"), "-out", path(name + ".pem"))
    with open(path("server.pem"), "a") as f, open(path("server.key")) as key:
        f.write(key.read())


def cfg(folder, port):
    return {
        "secureClientPort": port,
        "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
        "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
        "ssl.keyStore.location": os.path.join(folder, "server.pem"),
        "ssl.trustStore.location": os.path.join(folder, "ca.pem"),
        "ssl.hostnameVerification": "false",
    }


def sasl_cfg(folder, users):
    """A JAAS file with the users of SASL's DIGEST-MD5."""
    path = os.path.join(folder, "jaas.conf")
    with open(path, "w") as f:
        f.write("Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n")
        f.writelines(f'  user_{user}="{password}"\n' for user, password in users.items())
        f.write("  ;\n};\n")
    return {
        "java.security.auth.login.config": path,
        "authProvider.sasl": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
    }
