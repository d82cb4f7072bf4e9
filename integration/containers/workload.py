# Run in a module's container: signs with the module's key and fetches the trust bundle.
import base64
import http.client
import json
import os
import socket
import ssl
import tempfile


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(os.environ["IOTEDGE_WORKLOADURI"].removeprefix("unix://"))


def ask(method, path, body=None):
    one = Unix("workload")
    one.request(method, path + "?api-version=" + os.environ["IOTEDGE_APIVERSION"], body and json.dumps(body))
    answer = one.getresponse()
    text = answer.read().decode()
    assert answer.status in (200, 201), (answer.status, text)
    return json.loads(text)


me = "/modules/%s/genid/%s/sign" % (os.environ["IOTEDGE_MODULEID"], os.environ["IOTEDGE_MODULEGENERATIONID"])
data = base64.b64encode(b"it is me").decode()
signed = ask("POST", me, {"keyId": "primary", "algo": "HMACSHA256", "data": data})
trust = ask("GET", "/trust-bundle")

# What it encrypts it decrypts; a server certificate of its own name is trusted by the bundle.
genid = "/modules/%s/genid/%s/" % (os.environ["IOTEDGE_MODULEID"], os.environ["IOTEDGE_MODULEGENERATIONID"])
vector = base64.b64encode(b"vector").decode()
sealed = ask("POST", genid + "encrypt", {"plaintext": data, "initializationVector": vector})
opened = ask("POST", genid + "decrypt", {"ciphertext": sealed["ciphertext"], "initializationVector": vector})
assert opened["plaintext"] == data, opened
made = ask("POST", genid + "certificate/server", {"commonName": os.environ["IOTEDGE_MODULEID"]})
with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
    file.write(made["certificate"] + made["privateKey"]["bytes"])
    file.flush()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file.name)
client = ssl.create_default_context(cadata=trust["certificate"])
there, here, back, forth = ssl.MemoryBIO(), ssl.MemoryBIO(), None, None
serving = server.wrap_bio(there, here, server_side=True)
asking = client.wrap_bio(here, there, server_hostname=os.environ["IOTEDGE_MODULEID"])
for _ in range(6):
    for side in (asking, serving):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
assert asking.getpeercert()["notAfter"]
assert ask("GET", "/manifest-trust-bundle")["certificate"] == ""
print(json.dumps({"digest": signed["digest"], "trust": trust["certificate"]}))
