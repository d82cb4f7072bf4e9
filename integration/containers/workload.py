# Run in a module's container: signs with the module's key and fetches the trust bundle.
import base64
import http.client
import json
import os
import socket


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
    assert answer.status == 200, (answer.status, text)
    return json.loads(text)


me = "/modules/%s/genid/%s/sign" % (os.environ["IOTEDGE_MODULEID"], os.environ["IOTEDGE_MODULEGENERATIONID"])
data = base64.b64encode(b"it is me").decode()
signed = ask("POST", me, {"keyId": "primary", "algo": "HMACSHA256", "data": data})
trust = ask("GET", "/trust-bundle")
print(json.dumps({"digest": signed["digest"], "trust": trust["certificate"]}))
