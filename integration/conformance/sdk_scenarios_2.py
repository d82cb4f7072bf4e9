#!/usr/bin/env python3
"""More conformance scenarios, with the command line and the helpers of sdk_scenarios.py, which lies beside this file.

What the SDKs refuse to do, or hide, is done with paho or with packets made here (class Wire).
Last line printed: "N passed, N failed".  Exit status 1 when anything failed.
"""
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sdk_scenarios as base                                   # parses the command line
import base64, hashlib, json, re, socket, ssl, struct, subprocess, tempfile, threading, time, urllib.parse, uuid
from datetime import datetime, timedelta, timezone
import requests
from azure.core import exceptions as sex
from azure.storage.blob import BlobClient
from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse, X509, exceptions as dex
from azure.iot.hub.models import (AuthenticationMechanism, ConfigurationContent, Device, ExportImportDevice, Module, QuerySpecification,
                                  SymmetricKey, Twin, TwinProperties)
from sdk_scenarios import A, C, CA, HUB, KEY, RUN, SVC, Skip, check, edge_env, eventually, must, pair, responder, scenario, within

DIED = []  # network threads of paho that an exception has ended

def _thread_ended(args, before=threading.excepthook):
    if args.thread is not None and "_thread_main" in args.thread.name: DIED.append(args.thread.name)
    before(args)
threading.excepthook = _thread_ended

def is_lost(c, died):
    """the SDK's own faults after a cut: it never connects again; or paho's network thread, of which `died` had ended before, ends by an
    SSLEOFError as it writes, and the SDK takes itself for connected. Nothing reaches the server any more"""
    return not c.connected or len(DIED) > died

base.SCN.clear()
KEY2 = base64.b64encode(hashlib.sha256((RUN + "2").encode()).digest()).decode()
REFUSED = (4, 5)                       # the client must not try again by itself (sdk.md 0, trap 2)
q = lambda s: urllib.parse.quote(s, safe="")


# ------------------------------------------------------------------ MQTT by the byte
class Wire:
    """One TLS connection on which the test itself decides what is sent and acknowledged."""
    CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 3, 4, 9, 11, 13

    def __init__(self, cert=None, host=None):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); ctx.load_verify_locations(A.ca)
        if cert:
            ctx.load_cert_chain(*cert)
        host = host or A.gateway
        self.s = ctx.wrap_socket(socket.create_connection((host, A.mqtt_port), 10), server_hostname=host)
        self.buf, self.kept, self.pid = b"", [], 0
        C.live.append(self)

    def shutdown(self):
        try:
            self.s.close()
        except OSError:
            pass

    cut = shutdown

    @staticmethod
    def text(s):
        b = s if isinstance(s, bytes) else s.encode()
        return struct.pack(">H", len(b)) + b

    def send(self, first, body=b""):
        n, size = len(body), b""
        while True:
            n, d = divmod(n, 128)
            size += bytes([d | (128 if n else 0)])
            if not n:
                break
        self.s.sendall(bytes([first]) + size + body)

    def read(self, timeout=10):
        """(type, flags, body); None when the server closed; TimeoutError when nothing came"""
        end = time.time() + timeout
        while True:
            if len(self.buf) >= 2:
                size, shift, i = 0, 0, 1
                while i < len(self.buf):
                    d = self.buf[i]; size |= (d & 127) << shift; shift += 7; i += 1
                    if not d & 128:
                        if len(self.buf) >= i + size:
                            p = (self.buf[0] >> 4, self.buf[0] & 15, self.buf[i:i + size]); self.buf = self.buf[i + size:]
                            return p
                        break
            left = end - time.time()
            if left <= 0:
                raise TimeoutError("nothing came in %s s" % timeout)
            self.s.settimeout(left)
            try:
                d = self.s.recv(65536)
            except (socket.timeout, ssl.SSLWantReadError):
                raise TimeoutError("nothing came in %s s" % timeout)
            except OSError:
                return None
            if not d:
                return None
            self.buf += d

    def wait(self, kind, timeout=10):
        """the next packet of this kind; others are kept for later"""
        for i, p in enumerate(self.kept):
            if p[0] == kind:
                return self.kept.pop(i)
        end = time.time() + timeout
        while True:
            p = self.read(max(end - time.time(), 0.01))
            check(p is not None, "the server closed the connection, wanted packet", kind)
            if p[0] == kind:
                return p
            self.kept.append(p)

    def is_closed_within(self, timeout):
        end = time.time() + timeout
        try:
            while True:
                if self.read(max(end - time.time(), 0.01)) is None:
                    return True
        except TimeoutError:
            return False

    def connect(self, dev, mod=None, clean=True, password=None, username=None, client_id=None, keepalive=60, name=b"MQTT", level=4, flags=None, must_be=0):
        """-> session present; checks the return code"""
        me = dev + "/" + mod if mod else dev
        username = username if username is not None else "%s/%s/?api-version=2021-04-12&DeviceClientType=wire" % (HUB, me)
        password = C.sas(dev, mod) if password is None else password
        f = flags if flags is not None else (0x80 | (0x40 if password else 0) | (2 if clean else 0))
        body = self.text(name) + bytes([level, f]) + struct.pack(">H", keepalive) + self.text(me if client_id is None else client_id) + self.text(username)
        self.send(0x10, body + (self.text(password) if password else b""))
        if must_be is None:
            return None
        p = self.wait(self.CONNACK)
        check(p[2][1] == must_be if isinstance(must_be, int) else p[2][1] in must_be, "CONNACK", p[2][1], "wanted", must_be)
        return p[2][0]

    def next_id(self):
        self.pid += 1
        return self.pid

    def subscribe(self, *filters, qos=1, wait=True):
        self.send(0x82, struct.pack(">H", self.next_id()) + b"".join(self.text(f) + bytes([qos]) for f in filters))
        return list(self.wait(self.SUBACK)[2][2:]) if wait else None

    def unsubscribe(self, *filters):
        self.send(0xA2, struct.pack(">H", self.next_id()) + b"".join(self.text(f) for f in filters)); self.wait(self.UNSUBACK)

    def publish(self, topic, payload=b"", qos=1, dup=False, pid=None, retain=False, wait=True):
        payload = payload if isinstance(payload, bytes) else payload.encode()
        i = pid or (self.next_id() if qos else 0)
        self.send(0x30 | (8 if dup else 0) | qos << 1 | (1 if retain else 0), self.text(topic) + (struct.pack(">H", i) if qos else b"") + payload)
        if wait and qos == 1:
            ack = struct.unpack(">H", self.wait(self.PUBACK)[2])[0]; check(ack == i, "PUBACK of", ack, "wanted", i)
        return i

    def message(self, timeout=10, ack=True):
        """the next PUBLISH: (topic, payload, packet id, dup, qos)"""
        return self.parse(self.wait(self.PUBLISH, timeout), ack)

    def parse(self, p, ack=True):
        _, flags, b = p
        n = struct.unpack(">H", b[:2])[0]; topic, b = b[2:2 + n].decode(), b[2 + n:]; qos = flags >> 1 & 3; pid = 0
        if qos:
            pid, b = struct.unpack(">H", b[:2])[0], b[2:]
            if ack:
                self.ack(pid)
        return topic, b, pid, bool(flags & 8), qos

    def ack(self, pid):
        self.send(0x40, struct.pack(">H", pid))

    def quiet(self, seconds):
        """what comes in this time, as messages"""
        out, end = [], time.time() + seconds
        while True:
            try:
                p = self.read(max(end - time.time(), 0.01))
            except TimeoutError:
                break
            check(p is not None, "the server closed the connection")
            self.kept.append(p)
        ms, self.kept = [p for p in self.kept if p[0] == self.PUBLISH], [p for p in self.kept if p[0] != self.PUBLISH]
        return [self.parse(p) for p in ms]

    # twins
    def twin(self, timeout=10, **kw):
        rid = uuid.uuid4().hex; self.publish("$iothub/twin/GET/?$rid=" + rid, b" ", **kw); return self.answer(rid, timeout)

    def report(self, patch, rid=None, timeout=10, **kw):
        rid = rid or uuid.uuid4().hex; self.publish("$iothub/twin/PATCH/properties/reported/?$rid=" + rid, patch if isinstance(patch, (str, bytes)) else json.dumps(patch), **kw); return self.answer(rid, timeout)

    def answer(self, rid, timeout=10):
        """-> status, version or None, document or None; the topic's form is checked"""
        end, other = time.time() + timeout, []
        while True:
            p = self.wait(self.PUBLISH, max(end - time.time(), 0.01)); topic, body, *_ = self.parse(p)
            m = re.match(r"^\$iothub/twin/res/(\d+)/\?(.*)$", topic)
            if m:
                bag = dict(x.split("=", 1) for x in m.group(2).split("&"))
                if bag.get("$rid") == rid:
                    self.kept += other
                    return int(m.group(1)), int(bag["$version"]) if "$version" in bag else None, json.loads(body) if body else None
            other.append(p)


def wire(dev, mod=None, **kw):
    w = Wire(); w.connect(dev, mod, **kw); return w


def rest(method, path, body=None, headers=None, auth=None, host=None):
    h = {"Authorization": auth or C.service_sas()}; h.update(headers or {})
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    if data is not None:
        h.setdefault("Content-Type", "application/json")
    at = SVC["HostName"] if host is None else host + (":%d" % A.https_port if A.https_port != 443 else "")
    return requests.request(method, "https://%s%s%sapi-version=2021-04-12" % (at, path, "&" if "?" in path else "?"), data=data, headers=h, timeout=40, verify=A.ca)


def status_of(f, *codes):
    k, e = within(f, 40)
    got = getattr(getattr(e, "response", None), "status_code", None)
    check(k == "err" and got in codes, "wanted HTTP", codes, "got", k, got, repr(e))
    return e


def is_error_body(r):
    b = r.json(); check("Message" in b and isinstance(b["Message"], str), "error body", b); return b


def gone_within(c, seconds, what):
    t = time.time(); check(c.gone.wait(seconds) if hasattr(c, "gone") else c.is_closed_within(seconds), what, "did not end the connection in", seconds, "s"); return time.time() - t


_certs = {}


def certificate(name):
    """a self-signed certificate: ((pem, key), SHA-1, SHA-256)"""
    if name not in _certs:
        d = tempfile.mkdtemp(prefix="scenarios-"); pem, key = d + "/c.pem", d + "/c.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", key, "-out", pem], check=True, capture_output=True)
        der = ssl.PEM_cert_to_DER_cert(open(pem).read())
        _certs[name] = ((pem, key), hashlib.sha1(der).hexdigest().upper(), hashlib.sha256(der).hexdigest())
    return _certs[name]


def x509_device(name, primary, secondary=""):
    did = "s-%s-%s" % (RUN, name); C.rm.create_device_with_x509(did, primary, secondary, "enabled", device_scope=C.scope); C.made.append(did); time.sleep(A.settle); return did


def x509_client(did, cert):
    return C.track(IoTHubDeviceClient.create_from_x509_certificate(X509(*cert), HUB, did, server_verification_cert=CA, connection_retry_interval=1, **({"gateway_hostname": A.gateway} if A.gateway != HUB else {})))


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def authority():
    """the root that the hub and the gateway trust (scripts/sdk-world.sh makes it): (pem, key)"""
    where = os.path.dirname(os.path.abspath(A.x509_cert or ".")); pem, key = where + "/client-ca/root.pem", where + "/client-ca.key"
    if not os.path.exists(key):
        raise Skip("no authority of devices beside --x509-cert")
    return pem, key


def self_signed_authority():
    d = tempfile.mkdtemp(prefix="scenarios-"); openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority of devices", "-keyout", d + "/a.key", "-out", d + "/a.pem"); return d + "/a.pem", d + "/a.key"


def sign(name, by, *more, ca=False, days=2):
    """a certificate for this common name: (pem, key); days=None: it has expired"""
    d = tempfile.mkdtemp(prefix="scenarios-"); base_ = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign" if ca else "basicConstraints=CA:false"
    with open(d + "/x.cnf", "w") as f:
        f.write("\n".join(["[ca]", "default_ca=x", "[x]", "new_certs_dir=" + d, "database=" + d + "/db", "rand_serial=yes", "default_md=sha256", "policy=p", "[p]", "commonName=supplied", "[ext]", base_, *more, ""]))
    open(d + "/db", "w").close(); openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + name.replace("/", "\\/"), "-keyout", d + "/c.key", "-out", d + "/c.csr")
    dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"] if days is None else ["-days", str(days)]
    openssl("ca", "-batch", "-notext", "-config", d + "/x.cnf", "-extensions", "ext", "-in", d + "/c.csr", "-cert", by[0], "-keyfile", by[1], "-out", d + "/c.pem", *dates); return d + "/c.pem", d + "/c.key"


def chain(leaf, *others):
    """what a client sends: its certificate and these behind it, with its key"""
    pem = tempfile.mktemp(prefix="scenarios-", suffix=".pem")
    with open(pem, "w") as f:
        f.write("".join(open(one[0]).read() for one in (leaf,) + others))
    return pem, leaf[1]


def ca_device(name):
    did = "s-%s-%s" % (RUN, name); C.rm.create_device_with_certificate_authority(did, "enabled", device_scope=C.scope); C.made.append(did); time.sleep(A.settle); return did


def set_keys(did, primary, secondary, status="enabled"):
    return C.rm.update_device_with_sas(did, "*", primary, secondary, status, device_scope=C.scope)


# ================================================================== CONNECT
@scenario()
def connack_codes():
    """each certain refusal is 4 or 5, never 0, 1, 2 or 3"""
    did, other = C.new_device("ccA"), C.new_device("ccB"); mid = "m1"
    C.rm.create_module_with_sas(did, mid, "me", KEY, KEY); time.sleep(A.settle)
    bad_key = base64.b64encode(b"wrong" * 8).decode()
    for what, kw in {
        "wrong key": dict(password=C.sas(did, key=bad_key)),
        "token of another device": dict(password=C.sas(other)),
        "token for another hub": dict(password=C.sas(did, host="other.azure-devices.net")),
        "expired an hour ago": dict(password=C.sas(did, ttl=-3600)),
        "no token at all": dict(password="geheim"),
        "token without a signature": dict(password=C.sas(did).replace("sig=", "gis=")),
        "token without an expiry": dict(password=re.sub(r"&se=\d+", "", C.sas(did))),
        "expiry that is no number": dict(password=re.sub(r"&se=\d+", "&se=x", C.sas(did))),
        "no password and no certificate": dict(password=""),
        "client id of another device": dict(client_id=other),
        "client id of a module": dict(client_id=did + "/" + mid),
        "client id in other case": dict(client_id=did.upper()),
        "user name of another device": dict(username="%s/%s/?api-version=2021-04-12" % (HUB, other)),
        "user name without api-version": dict(username="%s/%s/?DeviceClientType=x" % (HUB, did)),
        "user name of one segment": dict(username=did),
        "user name of too many segments": dict(username="%s/%s/a/b/c/?api-version=2021-04-12" % (HUB, did)),
    }.items():
        w = Wire()
        try:
            w.connect(did, must_be=REFUSED, **kw)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (what, e))
        check(w.is_closed_within(5), what, "refused, but the connection stays open")
    for what, dev, mod in [("unknown device", did + "-none", None), ("unknown module", did, "none"), ("module of an unknown device", did + "-none", mid)]:
        w = Wire()
        try:
            w.connect(dev, mod, must_be=REFUSED)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (what, e))
    wire(did); wire(did, mid)

@scenario()
def connect_username_forms():
    did = C.new_device("uname")
    for name in ["%s/%s/?api-version=2021-04-12", "%s/%s/api-version=2018-06-30", "%s/%s/?api-version=2020-09-30&DeviceClientType=py%%2F2&model-id=dtmi%%3Acom%%3Ax%%3B1",
                 "%s/%s/api-version=2016-11-14/DeviceClientType=x%%2F1".replace("/DeviceClientType", "&DeviceClientType"), "%s/%s/?api-version=1&unknown=2&unknown=3", "%s/%s/?DeviceClientType=a&api-version=2021-04-12"]:
        w = Wire()
        try:
            w.connect(did, username=name % (HUB, did))
        except AssertionError as e:
            raise AssertionError("%s: %s" % (name, e))

@scenario()
def connect_token_forms():
    """fields in any order, skn, unescaped signature, lower-case escapes, sr as written, host in other case"""
    did = C.new_device("tokf"); se = str(int(time.time()) + 600)
    def sign(sr):
        import hmac
        return base64.b64encode(hmac.new(base64.b64decode(KEY), (sr + "\n" + se).encode(), hashlib.sha256).digest()).decode()
    plain = "%s/devices/%s" % (HUB, did); enc = q(plain); low = enc.replace("%2F", "%2f")
    forms = ["sr=%s&sig=%s&se=%s" % (enc, q(sign(enc)), se), "sig=%s&se=%s&skn=&sr=%s" % (q(sign(enc)), se, enc), "se=%s&sr=%s&sig=%s&skn=device" % (se, low, q(sign(low))),
             "sr=%s&sig=%s&se=%s" % (plain, q(sign(plain)), se), "sr=%s&sig=%s&se=%s" % (enc, urllib.parse.quote(sign(enc), safe="/+"), se), "sr=%s&sig=%s&se=%s" % (enc, q(sign(enc)).replace("%3D", "%3d").replace("%2F", "%2f"), se)]
    for f in forms:
        w = Wire()
        try:
            w.connect(did, password="SharedAccessSignature " + f)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (f, e))
    w = Wire(); w.connect(did, password="SharedAccessSignature sr=%s&sig=%s&se=%s" % (low, q(sign(enc)), se), must_be=REFUSED)   # signed as it is not written

@scenario()
def connect_other_versions_and_packets():
    """another MQTT is told so (1) or closed; what is not CONNECT, or a second CONNECT, closes"""
    did = C.new_device("vers")
    for name, level in [(b"MQIsdp", 3), (b"MQTT", 5), (b"MQTT", 3), (b"HTTP", 4)]:
        w = Wire(); w.connect(did, name=name, level=level, must_be=None)
        p = w.read(5); check(p is None or (p[0] == w.CONNACK and p[2][1] == 1), name, level, p); check(p is None or w.is_closed_within(5))
    for first, body in [(0xC0, b""), (0x30, Wire.text("devices/%s/messages/events/" % did) + b"x"), (0x82, b"\0\1" + Wire.text("#") + b"\1"), (0x00, b""), (0xF0, b"")]:
        w = Wire(); w.send(first, body); check(w.is_closed_within(5), "packet %#x before CONNECT did not close" % first)
    w = wire(did); w.connect(did, must_be=None); check(w.is_closed_within(5), "a second CONNECT did not close")
    w = Wire(); w.connect(did, flags=0x80 | 0x40 | 2 | 1, must_be=None); check(w.is_closed_within(5), "the reserved flag did not close")
    w = Wire(); w.send(0x10, b"\0\4MQTT"); check(w.is_closed_within(5), "half a CONNECT did not close")
    wire(did)

@scenario()
def connect_in_the_same_flight():
    """CONNECT, SUBSCRIBE, PUBLISH and a twin request at once, before CONNACK"""
    m = C.mark(); did = C.new_device("flight"); w = Wire(); w.connect(did, must_be=None)
    w.subscribe("$iothub/twin/res/#", "$iothub/methods/POST/#", wait=False); w.publish("$iothub/twin/GET/?$rid=1", b" ", qos=0); w.publish("devices/%s/messages/events/" % did, b"early", wait=False)
    check(w.wait(w.CONNACK)[2][1] == 0); check(list(w.wait(w.SUBACK)[2][2:]) == [1, 1]); check(w.answer("1")[0] == 200); w.wait(w.PUBACK)
    check(C.telemetry(m, lambda x: x["device"] == did)[0]["body"] == b"early")

@scenario()
def connect_secondary_key():
    did = "s-%s-seck" % RUN; C.rm.create_device_with_sas(did, KEY, KEY2, "enabled", device_scope=C.scope); C.made.append(did); C.rm.create_module_with_sas(did, "m", "me", KEY, KEY2); time.sleep(A.settle)
    for mod in (None, "m"):
        for key in (KEY, KEY2):
            c = C.client(did, mod, key=key); must(c.connect); must(lambda: c.send_message("x")); must(c.shutdown)

@scenario()
def connect_token_expires_while_connected():
    """the connection ends when its token does (the gateway's grace is 30 s at most)"""
    did = C.new_device("texp"); w = Wire(); w.connect(did, password=C.sas(did, ttl=4)); t = time.time()
    check(w.is_closed_within(45), "connection outlives its token by more than 40 s"); check(time.time() - t > 2.5, "ended long before the token")

@scenario()
def connect_module_of_a_leaf_device():
    m = C.mark(); did = C.new_device("leafm"); C.rm.create_module_with_sas(did, "mod.1", "me", KEY, KEY); time.sleep(A.settle); c = C.client(did, "mod.1"); must(c.connect); must(lambda: c.send_message("leaf module")); check("$version" in must(c.get_twin)["desired"])
    responder(c, lambda rq: (200, rq.name)); check(C.invoke(did, "hi", 1, "mod.1") == (200, "hi"))
    if A.gateway == HUB:
        check(C.telemetry(m, lambda x: x["device"] == did)[0]["module"] == "mod.1")

@scenario()
def connect_ids_with_special_characters():
    did = "s-%s-A.b_c:d=e,f@g!h*i'j(k)$l?m-%%25" % RUN; m = C.mark()
    try:
        r = rest("PUT", "/devices/" + q(did), {"deviceId": did, "status": "enabled", "deviceScope": C.scope, "authentication": {"type": "sas", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}}); check(r.status_code == 200, r.status_code, r.text); time.sleep(A.settle)
        w = Wire(); w.connect(did, password=C.sas(did)); w.publish("devices/%s/messages/events/a=b" % did, b"odd"); check(C.telemetry(m, lambda x: x["device"] == did)[0]["app"] == {"a": "b"})
        check(rest("GET", "/devices/" + q(did)).json()["deviceId"] == did); check(w.twin()[0] == 200)
    finally:
        rest("DELETE", "/devices/" + q(did), headers={"If-Match": '"*"'})


# ================================================================== X.509
@scenario()
def x509_secondary_thumbprint():
    (one, sha, _), (two, sha2, _) = certificate("one"), certificate("two")
    did = x509_device("x2", sha, sha2)
    for cert in (one, two):
        c = x509_client(did, cert); must(c.connect); must(lambda: c.send_message("x509")); must(c.shutdown)

@scenario()
def x509_sha256_thumbprint():
    one, _, sha256 = certificate("one"); did = x509_device("x256", sha256, sha256); c = x509_client(did, one); must(c.connect); must(lambda: c.send_message("x509"))

@scenario()
def x509_wrong_certificate():
    one, sha, _ = certificate("one"); two = certificate("two")[0]; did = x509_device("xw", sha)
    k, e = within(x509_client(did, two).connect, 20); check(k == "err" and isinstance(e, dex.CredentialError), "wanted CredentialError, got", k, repr(e))
    w = Wire(); w.connect(did, password="", must_be=REFUSED)                        # no certificate
    w = Wire(); w.connect(did, password=C.sas(did), must_be=REFUSED)                # a token in its place
    w = Wire(cert=one); w.connect(did, password="", must_be=0)
    sas = C.new_device("xs"); w = Wire(cert=one); w.connect(sas, password="", must_be=REFUSED)   # a certificate in place of a token
    w = Wire(cert=one); w.connect(sas, must_be=0)                                   # a certificate nobody asked for does no harm

@scenario()
def x509_rolled_while_connected():
    (one, sha, _), (two, sha2, _) = certificate("one"), certificate("two"); did = x509_device("xr", sha, sha); w = Wire(cert=one); w.connect(did, password="")
    C.rm.update_device_with_x509(did, "*", sha2, sha2, "enabled", device_scope=C.scope); gone_within(w, 6, "a changed thumbprint")
    w = Wire(cert=one); w.connect(did, password="", must_be=REFUSED); w = Wire(cert=two); w.connect(did, password="")

@scenario()
def x509_over_websocket_and_twin():
    one, sha, _ = certificate("one"); did = x509_device("xt", sha, sha); c = x509_client(did, one); responder(c, lambda rq: (200, 1)); check("$version" in must(c.get_twin)["desired"]); check(C.invoke(did, "x", connect=5) == (200, 1)); C.drop(c); time.sleep(0.3); C.connected(c); check(C.invoke(did, "x", connect=5) == (200, 1))

@scenario()
def x509_of_version_1():
    """what `openssl x509 -req` makes without more"""
    d = tempfile.mkdtemp(prefix="scenarios-"); openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=any", "-keyout", d + "/c.key", "-out", d + "/c.csr"); openssl("x509", "-req", "-in", d + "/c.csr", "-signkey", d + "/c.key", "-days", "2", "-out", d + "/c.pem")
    did = x509_device("xv1", hashlib.sha1(ssl.PEM_cert_to_DER_cert(open(d + "/c.pem").read())).hexdigest()); c = x509_client(did, (d + "/c.pem", d + "/c.key")); must(c.connect); must(lambda: c.send_message("version 1"))

@scenario()
def x509_signed_by_an_authority():
    """a root that hub and gateway trust, one between that only the client sends, and what is not quite that"""
    root = authority(); between = sign("between", root, ca=True); m = C.mark(); did = ca_device("xca"); c = x509_client(did, chain(sign(did, between), between))
    must(c.connect); must(lambda: c.send_message("signed")); check("$version" in must(c.get_twin)["desired"]); responder(c, lambda rq: (200, rq.name)); check(C.invoke(did, "hello", connect=5) == (200, "hello"))
    check(C.telemetry(m, lambda x: x["device"] == did)[0]["body"] == b"signed"); must(c.shutdown)
    c = x509_client(did, chain(sign(did, root))); must(c.connect); must(c.shutdown)
    forged = self_signed_authority(); leaf = sign(did, between)
    for what, shown in [("without the one between", chain(leaf)), ("another root of the same name", chain(sign(did, forged), forged)), ("self-signed", certificate(did)[0]), ("for another device", chain(sign(did + "-2", between), between)),
                        ("other case", chain(sign(did.upper(), between), between)), ("signed by a device", chain(sign(did, leaf), leaf, between)), ("an authority itself", chain(sign(did, between, ca=True), between)),
                        ("for servers", chain(sign(did, between, "extendedKeyUsage=serverAuth"), between)), ("not to sign", chain(sign(did, between, "keyUsage=keyEncipherment"), between)), ("expired", chain(sign(did, between, days=None), between)), ("none", None)]:
        w = Wire(cert=shown)
        try:
            w.connect(did, password="", must_be=REFUSED)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (what, e))
    k, e = within(x509_client(did, chain(leaf)).connect, 20); check(k == "err" and isinstance(e, dex.CredentialError), "wanted CredentialError, got", k, repr(e))
    w = Wire(cert=chain(leaf, between)); w.connect(did, must_be=REFUSED)            # a token in its place
    sas = C.new_device("xcas"); w = Wire(cert=chain(sign(sas, between), between)); w.connect(sas, password="", must_be=REFUSED)   # who has keys
    C.rm.create_module_with_sas(did, "m", "me", KEY, KEY); time.sleep(A.settle); w = Wire(cert=chain(sign(did + "/m", between), between)); w.connect(did, "m", password="", must_be=REFUSED); wire(did, "m")
    w = Wire(cert=chain(leaf, between)); w.connect(did, password=""); set_keys(did, KEY, KEY); gone_within(w, 6, "keys in place of certificates")
    w = Wire(cert=chain(leaf, between)); w.connect(did, password="", must_be=REFUSED); wire(did)

@scenario()
def x509_signed_survives_server_restart():
    if not A.restart_cmd:
        raise Skip("no --restart-cmd")
    root = authority(); did = ca_device("xcar"); c = x509_client(did, chain(sign(did, root))); must(c.connect); must(lambda: c.send_message("before"))
    check(subprocess.run(A.restart_cmd, shell=True).returncode == 0); m = C.mark()
    check(eventually(lambda: within(lambda: c.send_message("after"), 15)[0] == "ok", 40), "it does not come back"); check(C.telemetry(m, lambda x: x["device"] == did))

@scenario()
def x509_out_of_date_thumbprint():
    root = authority(); pem, key = chain(sign("old", root, days=None)); sha = hashlib.sha1(ssl.PEM_cert_to_DER_cert(open(pem).read())).hexdigest(); did = x509_device("xold", sha, sha); w = Wire(cert=(pem, key)); w.connect(did, password="", must_be=REFUSED)


# ================================================================== tokens that others may use
@scenario()
def connect_module_by_its_devices_token():
    """a module may come in with a token of its device; it goes when the key of that is changed, one with its own key does not"""
    did, other = C.new_device("dtok"), C.new_device("dtok2")
    for mid in ("m", "n"):
        C.rm.create_module_with_sas(did, mid, "me", KEY2, KEY2)
    time.sleep(A.settle); w = Wire(); w.connect(did, "m", password=C.sas(did)); own = Wire(); own.connect(did, "n", password=C.sas(did, "n", key=KEY2))
    w.publish("devices/%s/modules/m/messages/events/" % did, b"x")
    for what, password in [("of another device", C.sas(other)), ("of its device, signed with its own key", C.sas(did, key=KEY2)), ("of a module beside it", C.sas(did, "n", key=KEY2))]:
        x = Wire()
        try:
            x.connect(did, "m", password=password, must_be=REFUSED)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (what, e))
    x = Wire(); x.connect(did, password=C.sas(did, "n", key=KEY2), must_be=REFUSED)                  # the other way about
    set_keys(did, KEY2, KEY2); gone_within(w, 6, "another key of the device"); own.publish("devices/%s/modules/n/messages/events/" % did, b"y")


# ================================================================== identities that change while connected
@scenario()
def identity_disabled_while_connected():
    did = C.new_device("dis"); w = wire(did); set_keys(did, KEY, KEY, "disabled"); gone_within(w, 6, "disabling the device")
    w = Wire(); w.connect(did, must_be=REFUSED); set_keys(did, KEY, KEY); time.sleep(A.settle + 0.5); wire(did)

@scenario()
def identity_deleted_and_made_anew():
    did = C.new_device("del"); w = wire(did, clean=False); w.subscribe("devices/%s/messages/devicebound/#" % did); check(w.report({"old": 1})[0] in (200, 204)); C.desired(did, {"d": 1})
    gen = C.rm.get_device(did).generation_id; C.rm.delete_device(did); gone_within(w, 6, "deleting the device"); w = Wire(); w.connect(did, must_be=REFUSED); status_of(lambda: C.invoke(did, "x", 1), 404)
    C.rm.create_device_with_sas(did, KEY2, KEY2, "enabled", device_scope=C.scope); check(C.rm.get_device(did).generation_id != gen); time.sleep(A.settle + 0.5)
    w = Wire(); w.connect(did, must_be=REFUSED); w = Wire(); sp = w.connect(did, clean=False, password=C.sas(did, key=KEY2)); check(sp == 0, "the session of the deleted device is still there")
    s, _, t = w.twin(); check(s == 200 and "old" not in t["reported"] and "d" not in t["desired"] and t["desired"]["$version"] == 1, t)

@scenario()
def identity_deleted_and_made_anew_at_once():
    """without a pause between: a client of the first generation is not kept, a twin of it neither"""
    did = C.new_device("dela"); w = wire(did); C.desired(did, {"d": 1}); w.subscribe("$iothub/twin/PATCH/properties/desired/#"); check(w.twin()[2]["desired"].get("d") == 1 or A.gateway != HUB)
    C.rm.delete_device(did); C.rm.create_device_with_sas(did, KEY, KEY, "enabled", device_scope=C.scope); time.sleep(6)
    w = wire(did); t = eventually(lambda: (lambda t: t if "d" not in t["desired"] else None)(w.twin()[2]), 10); check(t, "the twin of the first generation is still given"); C.desired(did, {"fresh": 1})
    check(eventually(lambda: w.twin()[2]["desired"].get("fresh") == 1, 10), "the twin of the second generation is not followed")

@scenario()
def identity_module_deleted_while_connected():
    mid = C.new_module("mdel"); w = wire(C.edge, mid); C.rm.delete_module(C.edge, mid); gone_within(w, 6, "deleting the module"); w = Wire(); w.connect(C.edge, mid, must_be=REFUSED)

@scenario()
def keys_changed_while_connected():
    did, c = C.device("keyc"); must(c.connect); w = None; t = time.time(); set_keys(did, KEY2, KEY2); check(eventually(lambda: not c.connected, 6), "connection outlives its key"); must(c.shutdown)
    k, e = within(C.client(did).connect, 15); check(k == "err" and isinstance(e, dex.CredentialError), k, repr(e)); c = C.client(did, key=KEY2); must(c.connect); must(lambda: c.send_message("new key"))

@scenario()
def keys_rolled_one_after_the_other():
    """primary exchanged first: a client of the secondary key is never refused"""
    did = "s-%s-roll" % RUN; C.rm.create_device_with_sas(did, KEY, KEY2, "enabled", device_scope=C.scope); C.made.append(did); time.sleep(A.settle)
    c = C.client(did, key=KEY2); must(c.connect); key3 = base64.b64encode(b"3" * 32).decode(); set_keys(did, key3, KEY2); time.sleep(1); must(lambda: c.send_message("still there"), 20)
    w = Wire(); w.connect(did + "", password=C.sas(did, key=KEY), must_be=REFUSED); c2 = C.client(did, key=key3); must(c2.connect)

@scenario()
def keys_changed_while_away():
    did, c = C.device("keya"); must(c.connect); must(c.disconnect); set_keys(did, KEY2, KEY2); time.sleep(A.settle + 0.5); k, e = within(c.connect, 15); check(k == "err" and isinstance(e, dex.CredentialError), "old key after rotation:", k, repr(e))
    must(C.client(did, key=KEY2).connect)


# ================================================================== takeover, sessions
@scenario()
def takeover_closes_the_old_connection():
    did = C.new_device("take"); w = wire(did, clean=False); w.subscribe("devices/%s/messages/devicebound/#" % did); v = Wire(); check(v.connect(did, clean=False) == 1, "session present"); check(w.is_closed_within(5), "the old connection is still open"); time.sleep(0.5)
    C.c2d(did, "for the new one"); check(v.message()[1] == b"for the new one", "the old connection's end took the session along")

@scenario()
def takeover_storm_is_damped():
    """two clients with one id fight; others are served, and the winner works"""
    did = C.new_device("storm"); other = C.new_device("calm"); cs = [C.client(did), C.client(did)]; n = [0]; w = wire(other)
    for c in cs:
        c.on_connection_state_change = lambda: n.__setitem__(0, n[0] + 1); within(c.connect, 10)
    end, worst = time.time() + 6, 0
    while time.time() < end:
        t = time.time(); w.publish("devices/%s/messages/events/" % other, b"calm"); worst = max(worst, time.time() - t); time.sleep(0.05)
    check(worst < 2, "another client waited", worst, "s"); check(n[0] < 80, "not damped:", n[0], "changes of state in 6 s")
    within(cs[0].shutdown, 10); got = []; cs[1].on_message_received = lambda x: got.append(x.data)
    check(eventually(lambda: cs[1].connected, 40), "the one that is left does not get in"); C.c2d(did, "won"); check(eventually(lambda: got, 15), "deaf after the storm"); must(lambda: cs[1].send_message("won"))

@scenario()
def session_flags():
    did = C.new_device("sess"); f = "devices/%s/messages/devicebound/#" % did
    w = Wire(); check(w.connect(did, clean=False) == 0); w.subscribe(f); w.cut(); C.c2d(did, "1")
    w = Wire(); check(w.connect(did, clean=False) == 1, "session present not told"); check(w.message()[1] == b"1", "not delivered to the stored subscription"); w.send(0xE0)
    w = Wire(); check(w.connect(did, clean=True) == 0, "session present with clean session"); C.c2d(did, "2"); check(not w.quiet(1.5), "delivered without a subscription"); w.send(0xE0)
    w = Wire(); check(w.connect(did, clean=False) == 0, "clean session left a session behind"); check(not w.quiet(2.5)); w.subscribe(f); check(w.message()[1] == b"2")

@scenario()
def session_of_a_clean_client_ends_with_it():
    did = C.new_device("sesc"); w = wire(did, clean=True); w.subscribe("$iothub/methods/POST/#"); w.cut(); w = Wire(); check(w.connect(did, clean=False) == 0, "a clean session was kept"); status_of(lambda: C.invoke(did, "x", 1), 404)

@scenario("restart")
def session_is_on_disk_before_suback():
    did = C.new_device("sdisk"); w = wire(did, clean=False); w.subscribe("$iothub/methods/POST/#", "devices/%s/messages/devicebound/#" % did); subprocess.run(A.restart_cmd, shell=True, check=True)
    w = Wire(); check(w.connect(did, clean=False) == 1, "the session was lost"); C.c2d(did, "x"); check(w.message(20)[1] == b"x")

@scenario("restart")
def session_without_acks_survives_a_restart():
    """not acknowledged before the restart: delivered again after it"""
    did = C.new_device("sunack"); f = "devices/%s/messages/devicebound/#" % did; w = wire(did, clean=False); w.subscribe(f); C.c2d(did, "a"); C.c2d(did, "b"); check(w.message(ack=False)[1] == b"a"); check(w.message(ack=False)[1] == b"b")
    subprocess.run(A.restart_cmd, shell=True, check=True); w = Wire(); check(w.connect(did, clean=False) == 1); got = [w.message(70)[1] for _ in range(2)]; check(got == [b"a", b"b"], got); check(not w.quiet(2))

@scenario()
def unsubscribe_ends_it():
    did = C.new_device("unsub"); w = wire(did); w.subscribe("$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#", "devices/%s/messages/devicebound/#" % did); C.desired(did, {"a": 1}); check(w.message()[0].startswith("$iothub/twin/PATCH/properties/desired/?$version="))
    w.unsubscribe("$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#", "devices/%s/messages/devicebound/#" % did); time.sleep(0.3); C.desired(did, {"a": 2}); C.c2d(did, "x"); status_of(lambda: C.invoke(did, "x", 1), 404); check(not w.quiet(1))

@scenario()
def subscribe_grants():
    """QoS 2 is granted as 1; what the hub does not have is not granted; another's filters are never served"""
    did, other = C.new_device("subg"), C.new_device("subo"); w = wire(did); check(w.subscribe("devices/%s/messages/devicebound/#" % did, qos=2) == [1]); check(w.subscribe("$iothub/twin/res/#", qos=0) == [0])
    check(w.subscribe("$iothub/methods/POST/#", "nonsense/#", "$iothub/twin/PATCH/properties/desired/#") == [1, 0x80, 1])
    for f in ["devices/%s/messages/devicebound/#" % other, "devices/+/messages/devicebound/#", "#"]:
        w = wire(did); w.subscribe(f, wait=False)
        try:
            p = w.read(5)
        except TimeoutError:
            p = ()
        check(p is None or p[0] == w.SUBACK and 0x80 in p[2], f, "was granted:", p)
    for body in [b"\0\1", b"\0\1" + Wire.text("a/#/b") + b"\1", b"\0\1" + Wire.text("") + b"\1", b"\0\0" + Wire.text("$iothub/twin/res/#") + b"\1", b"\0\1" + Wire.text("$iothub/twin/res/#") + b"\3"]:
        w = wire(did); w.send(0x82, body)
        p = w.read(5); check(p is None or p[0] == w.SUBACK and list(p[2][2:]) == [0x80], "malformed SUBSCRIBE", body, "was answered", p)

@scenario()
def keepalive_is_enforced():
    did = C.new_device("kae"); w = wire(did, keepalive=2); t = time.time(); check(w.is_closed_within(8), "a silent client is still connected after 8 s of keep-alive 2"); check(time.time() - t > 2.5, "closed too early")
    w = wire(did, keepalive=2)
    for _ in range(4):
        time.sleep(1.2); w.send(0xC0); w.wait(w.PINGRESP, 3)
    v = wire(did, keepalive=0); time.sleep(1); v.send(0xC0); v.wait(v.PINGRESP)


# ================================================================== telemetry on the wire
@scenario()
def telemetry_bag_on_the_wire():
    m = C.mark(); did = C.new_device("bag"); w = wire(did); t = "devices/%s/messages/events" % did
    bags = {"/": {}, "": {}, "/a=b": {"a": "b"}, "/a=b/": {"a": "b"}, "/?a=b": {"a": "b"}, "/%C3%BC=%E2%82%AC%F0%9F%98%80": {"ü": "€😀"}, "/plus=a%2Bb&sp=a%20b": {"plus": "a+b", "sp": "a b"}, "/pct=100%25&sl=a%2Fb%2fc&eq=a%3Db&amp=a%26b": {"pct": "100%", "sl": "a/b/c", "eq": "a=b", "amp": "a&b"},
            "/empty=&z=1": {"empty": "", "z": "1"}, "/novalue&z=1": {"z": "1"}, "/a=1&a=2": {"a": "2"}, "/%24.custom=1": {"$.custom": "1"}, "/deviceId=evil&moduleId=evil": {"deviceId": "evil", "moduleId": "evil"}}
    for i, bag in enumerate(bags):
        w.publish(t + bag, str(i))
    r = C.telemetry(m, lambda x: x["device"] == did, len(bags)); check([int(x["body"]) for x in r] == list(range(len(bags))), "order"); check(all(x["module"] is None for x in r), "moduleId from the bag")
    for (bag, want), x in zip(bags.items(), r):
        app = dict(x["app"])
        if "novalue" in bag:
            check(app.pop("novalue", None) in (None, ""), app)
        check(app == want, bag, "became", app)

@scenario()
def telemetry_system_properties_on_the_wire():
    m = C.mark(); did = C.new_device("bsys"); w = wire(did); w.publish("devices/%s/messages/events/%%24.mid=m%%2F1&%%24.cid=c%%2B1&%%24.uid=u&%%24.ct=application%%2Fjson%%3Bcharset%%3Dutf-8&%%24.ce=utf-8&%%24.exp=2030-01-01T00%%3A00%%3A00Z&%%24.ctime=2026-01-01T00%%3A00%%3A00Z&%%24.sub=thermostat&%%24.schema=s1&x=y/" % did, b"{}")
    x = C.telemetry(m, lambda x: x["device"] == did)[0]; s = x["sys"]; check(x["app"] == {"x": "y"}, "app", x["app"])
    for k, v in {"mid": "m/1", "cid": "c+1", "uid": "u", "ct": "application/json;charset=utf-8", "ce": "utf-8", "sub": "thermostat"}.items():
        check(s.get(k) == v, k, "is", s.get(k), "in", s)

@scenario()
def telemetry_properties_of_the_sdk():
    m = C.mark(); did, c = C.device("tprop"); g = Message("x"); want = {"a b": "c d", "ü/?#+": "%25&=", "empty": "", "number": "42", "long": "x" * 2000}; g.custom_properties.update(want); g.custom_properties["number"] = 42; must(lambda: c.send_message(g)); check(C.telemetry(m, lambda x: x["device"] == did)[0]["app"] == want)
    g = Message(""); must(lambda: c.send_message(g)); check(C.telemetry(m, lambda x: x["device"] == did, 2)[1]["body"] == b"")
    g = Message("sec"); g.set_as_security_message(); g.expiry_time_utc = "2030-01-01T00:00:00Z"; must(lambda: c.send_message(g)); check(C.telemetry(m, lambda x: x["device"] == did, 3)[2]["body"] == b"sec")

@scenario()
def telemetry_qos():
    """0 and 1 are taken, 2 closes and stores nothing; a repeated packet is stored at least once"""
    m = C.mark(); did = C.new_device("tqos"); t = "devices/%s/messages/events/" % did; w = wire(did); w.publish(t, b"zero", qos=0); w.publish(t, b"one"); w.publish(t, b"kept", retain=True); w.publish(t, b"again", pid=77); w.publish(t, b"again", pid=77, dup=True)
    w.publish(t, b"two", qos=2); check(w.is_closed_within(5), "QoS 2 did not close"); time.sleep(1); got = [x["body"] for x in C.reader.since(m) if x["device"] == did]; check(b"two" not in got, "QoS 2 was stored"); check(set(got) == {b"zero", b"one", b"kept", b"again"}, got); check(got[:3] == [b"zero", b"one", b"kept"], got)

@scenario()
def telemetry_before_disconnect():
    """QoS 0 messages in one flight with DISCONNECT arrive"""
    m = C.mark(); did = C.new_device("tbd"); w = wire(did); t = Wire.text("devices/%s/messages/events/" % did); w.s.sendall(b"".join(bytes([0x30, len(t) + 1]) + t + b"%d" % i for i in range(5)) + b"\xe0\0")
    r = C.telemetry(m, lambda x: x["device"] == did, 5); check([x["body"] for x in r] == [b"%d" % i for i in range(5)], r)

@scenario()
def telemetry_of_a_will():
    """sent when the client goes without DISCONNECT, and only then"""
    m = C.mark(); did = C.new_device("will")
    def connect(topic):
        w = Wire(); f = 0x80 | 0x40 | 0x08 | 0x04 | 2; name = "%s/%s/?api-version=2021-04-12" % (HUB, did)
        w.send(0x10, w.text(b"MQTT") + bytes([4, f]) + struct.pack(">H", 60) + w.text(did) + w.text(topic) + w.text("gone") + w.text(name) + w.text(C.sas(did))); check(w.wait(w.CONNACK)[2][1] == 0); return w
    own = "devices/%s/messages/events/a=b" % did; w = connect(own); w.send(0xE0); w.is_closed_within(5); time.sleep(1); check(not [x for x in C.reader.since(m) if x["device"] == did], "sent after DISCONNECT")
    connect("devices/another/messages/events/").cut(); connect(own).cut(); x = C.telemetry(m, lambda x: x["device"] == did)[0]; check(x["body"] == b"gone" and x["app"].get("a") == "b" and x["app"].get("MessageType") == "Will", x); time.sleep(0.5); check(not [x for x in C.reader.since(m) if x["device"] == "another"])

@scenario()
def telemetry_is_pipelined():
    """500 PUBLISHes without waiting; PUBACKs in order"""
    m = C.mark(); did = C.new_device("tpipe"); w = wire(did); ids = [w.publish("devices/%s/messages/events/" % did, str(i), wait=False) for i in range(500)]; got = [struct.unpack(">H", w.wait(w.PUBACK, 20)[2])[0] for _ in ids]; check(got == ids, "PUBACKs out of order"); r = C.telemetry(m, lambda x: x["device"] == did, 500); check([int(x["body"]) for x in r] == list(range(500)))

@scenario()
def telemetry_too_large_closes():
    m = C.mark(); did = C.new_device("tbig"); t = "devices/%s/messages/events/" % did; w = wire(did); w.publish(t, b"x" * 262144); w = wire(did)
    try:
        w.publish(t, b"y" * 300000, wait=False)
    except OSError:
        pass
    check(w.is_closed_within(5), "300,000 bytes did not close"); w = wire(did); w.publish(t, b"after"); r = [x["body"] for x in C.reader.since(m) if x["device"] == did]; check(not [b for b in r if b[:1] == b"y"]); check(len(r[0]) == 262144)

@scenario()
def telemetry_topics_that_are_none():
    """another identity's topic and topics of nobody store nothing, for anybody"""
    m = C.mark(); a, b = C.new_device("tta"), C.new_device("ttb"); C.rm.create_module_with_sas(a, "m", "me", KEY, KEY); time.sleep(A.settle)
    for t in ["devices/%s/messages/events/" % b, "devices/%s/modules/m/messages/events/" % a, "devices/%s/modules/m/messages/events/" % b, "x/devices/%s/messages/events/" % b, "devices/%s/messages/devicebound/" % b, "$iothub/methods/POST/x/?$rid=1", "a/b", "devices/%s/messages/events/a=b/../../" % b]:
        w = wire(a); w.publish(t, b"bad-" + RUN.encode(), wait=False)
        try:
            p = w.read(5)
        except TimeoutError:
            raise AssertionError("neither PUBACK nor end for " + t)
        check(p is None or p[0] == w.PUBACK)
    w = wire(a, "m"); w.publish("devices/%s/messages/events/" % a, b"bad-" + RUN.encode(), wait=False); w.is_closed_within(2); time.sleep(0.5); check(not [x for x in C.reader.since(m) if x["body"].startswith(b"bad-")], "stored")

@scenario()
def telemetry_bad_bags_store_nothing_wrong():
    """a property bag that cannot be read: closed or acknowledged, never stored half-read"""
    m = C.mark(); did = C.new_device("tbb")
    for bag in ["=v", "a=b=c", "a=%zz", "a=%C3"]:
        w = wire(did); w.publish("devices/%s/messages/events/%s" % (did, bag), b"bad", wait=False); p = w.read(5); check(p is None or p[0] == w.PUBACK, bag, p)
    w = wire(did); w.publish("devices/%s/messages/events/" % did, b"good"); check(C.telemetry(m, lambda x: x["device"] == did and x["body"] == b"good"))

@scenario()
def telemetry_many_clients():
    """all of them connected at once, one message each"""
    n = min(A.clients, 60); m = C.mark(); dids = ["s-%s-many%d" % (RUN, i) for i in range(n)]; C.made.extend(dids)
    for i in range(0, n, 50):
        r = C.rm.bulk_create_or_update_devices([ExportImportDevice(id=d, import_mode="create", status="enabled", device_scope=C.scope, authentication=AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=KEY, secondary_key=KEY))) for d in dids[i:i + 50]]); check(r.is_successful, r)
    time.sleep(A.settle + 1); ws = [wire(d) for d in dids]
    for d, w in zip(dids, ws):
        w.publish("devices/%s/messages/events/" % d, d, wait=False)
    for w in ws:
        w.wait(w.PUBACK)
    r = C.telemetry(m, lambda x: x["device"] in dids, n); check({x["device"] for x in r} == set(dids) and all(x["body"].decode() == x["device"] for x in r)); check(C.rm.get_service_statistics().connected_device_count >= n)


# ================================================================== twins
@scenario()
def twin_request_forms():
    """answered without a subscription, in QoS 0 and 1, with any rid; PUBACK not before the answer"""
    did = C.new_device("twf"); w = wire(did)
    for rid in ["1", "a-b_c.d", str(uuid.uuid4()), "%24x", "0"]:
        for qos in (0, 1):
            i = w.publish("$iothub/twin/GET/?$rid=" + rid, b" " if qos else b"", qos=qos, wait=False); p1 = w.read(); check(p1[0] == w.PUBLISH, "PUBACK came before the answer" if p1 else "closed"); topic, body, *_ = w.parse(p1); check(topic == "$iothub/twin/res/200/?$rid=" + rid, topic); d = json.loads(body); check(set(d) == {"desired", "reported"} and all(isinstance(d[k]["$version"], int) for k in d), d); check("$metadata" not in d["desired"])
            if qos:
                check(struct.unpack(">H", w.wait(w.PUBACK)[2])[0] == i)
    s, v, b = w.report({"x": 1}, rid="p1"); check(s in (200, 204) and b is None, s, b); s, v, b = w.report({"x": 2}, qos=0); check(s in (200, 204), s)
    w.publish("$iothub/twin/PATCH/properties/reported/?$rid=r&$version=99", b'{"x":3}', qos=0); check(w.answer("r")[0] in (200, 204, 400, 412))

@scenario()
def twin_requests_that_are_none():
    did = C.new_device("twn")
    for t in ["$iothub/twin/GET/", "$iothub/twin/GET/foo/?$rid=1", "$iothub/twin/PUT/properties/reported/?$rid=1", "$iothub/twin/PATCH/properties/desired/?$rid=1"]:
        w = wire(did); w.publish(t, b"{}", wait=False); p = w.read(5); check(p is None or p[0] == w.PUBACK or w.parse(p)[0].split("/")[3][0] == "4", t, p)
    check("foo" not in C.twin(did).properties.desired)

@scenario()
def twin_repeated_request():
    """what was cut off is sent again with DUP: answered again, changed once"""
    did = C.new_device("twd"); w = wire(did); s, v1, _ = w.report({"n": 1}, rid="same", pid=5); v0 = w.twin()[2]["reported"]["$version"]; s, v2, _ = w.report({"n": 1}, rid="same", pid=5, dup=True); check(s in (200, 204)); w2 = wire(did); s, _, _ = w2.report({"n": 1}, rid="same", pid=5, dup=True); check(s in (200, 204))
    t = w2.twin()[2]["reported"]; check(t["n"] == 1); check(eventually(lambda: C.twin(did).properties.reported.get("n") == 1, 10))
    for _ in range(3):
        w2.publish("$iothub/twin/GET/?$rid=g", b" ", pid=9, wait=False, dup=True); check(w2.answer("g")[0] == 200)

@scenario()
def twin_request_cut_off():
    """the request's connection ends before the answer: the SDK's second try is answered"""
    did, c = C.device("twc"); must(c.get_twin)
    for i in range(8):
        died = len(DIED); box = []; t = threading.Thread(target=lambda: box.append(within(c.get_twin, 20)), daemon=True); t.start(); time.sleep(0.001 * i); C.drop(c); t.join(25); how, what = box[0]
        if how == "hung" and is_lost(c, died):
            did, c = C.device("twc%d" % i); must(c.get_twin); continue
        check(how == "err" and isinstance(what, dex.NoConnectionError) or how == "ok" and "$version" in what["desired"], "get_twin after a cut", i, "ended with", how, what); time.sleep(0.3); C.connected(c); check("$version" in must(c.get_twin)["desired"])

@scenario()
def twin_limits():
    """each refused patch: 400 with a JSON body, connection stays, nothing of it is kept"""
    did = C.new_device("twl"); w = wire(did); check(w.report({"good": 1})[0] in (200, 204))
    deep = lambda n: {"d": deep(n - 1)} if n else 1
    bad = {"deep": deep(12), "large": {"k%d" % i: "x" * 4000 for i in range(9)}, "dollar": {"$x": 1}, "dot": {"a.b": 1}, "space": {"a b": 1}, "hash": {"a#b": 1}, "control": {"a\u0001b": 1}, "key": {"k" * 1025: 1}, "string": {"s": "x" * 4097}, "int": {"i": 2 ** 53}, "negative": {"i": -2 ** 53}, "null in array": {"a": [1, None]}, "null below array": {"a": [{"b": None}]}, "nested key": {"a": {"b": {"c.d": 1}}},
           "array": [1], "string only": "x", "number": 5, "null": None, "no JSON": "{not json", "empty": "", "two": "{}{}", "no UTF-8": b'{"a":"\xff"}'}
    for what, patch in bad.items():
        raw = patch if what in ("no JSON", "empty", "two", "no UTF-8") else json.dumps(patch)
        try:
            s, _, b = w.report(raw, qos=1)
        except AssertionError as e:
            raise AssertionError("%s: %s" % (what, e))
        check(400 <= s < 500, what, "was answered", s); check(b and isinstance(b.get("errorCode"), int) and 100000 <= b["errorCode"] <= 999999 and b.get("message"), what, "has the body", b)
    good = {"deep": deep(8), "k" * 1000: 1, "s": "x" * 4000, "i": 2 ** 52 - 1, "n": -2 ** 52, "f": 1.5e300, "arr": [1, "a", True, {"b": [2]}, []], "ünïcode-key_1": "ü€😀", "e": {}, "str": ""}
    s, _, b = w.report(good); check(s in (200, 204), s, b); r = w.twin()[2]["reported"]; r.pop("$version"); check(r == {"good": 1, **good}, {k: v for k, v in r.items() if good.get(k) != v})

@scenario()
def twin_total_size():
    """many patches that are each small: the whole may not outgrow the limit without a 4xx"""
    did = C.new_device("tws"); w = wire(did); seen = [w.report({"k%d_%d" % (i, j): "x" * 4000 for j in range(7)})[0] for i in range(7)]; check(set(seen) <= {200, 204, 400, 413}, seen); check(w.twin()[0] == 200); check(w.report({"k0_%d" % j: None for j in range(7)})[0] in (200, 204, 400), "cannot be made smaller again")

@scenario()
def twin_merging():
    did, c = C.device("twm"); P = lambda p: must(lambda: c.patch_twin_reported_properties(p)); G = lambda: {k: v for k, v in must(c.get_twin)["reported"].items() if k != "$version"}
    P({"a": {"b": {"c": 1, "d": 2}}, "l": [1, 2, 3], "s": "x"}); P({"a": {"b": {"c": None}}, "l": [9]}); check(G() == {"a": {"b": {"d": 2}}, "l": [9], "s": "x"}, G()); P({"a": 5, "s": {"t": 1}}); check(G() == {"a": 5, "l": [9], "s": {"t": 1}}, G()); P({"a": {"n": None}, "nothing": None}); check(G().get("a") in ({}, None) and "nothing" not in G(), G()); P({}); P({"l": None, "s": None, "a": None}); check(G() == {}, G())
    check(eventually(lambda: {k: v for k, v in C.twin(did).properties.reported.items() if k[0] != "$"} == {}, 10))

@scenario()
def twin_versions():
    did = C.new_device("twv"); w = wire(did); w.subscribe("$iothub/twin/PATCH/properties/desired/#"); d0 = w.twin()[2]["desired"]["$version"]; seen = []
    for i in range(5):
        t = C.desired(did, {"i": i}); topic, body, *_ = w.message(); b = json.loads(body); check(topic == "$iothub/twin/PATCH/properties/desired/?$version=%d" % b["$version"], topic); check(b["i"] == i and b["$version"] == t.properties.desired["$version"]); seen.append(b["$version"])
    check(seen == list(range(d0 + 1, d0 + 6)), seen); vs = [w.report({"i": i}) for i in range(3)]; check(eventually(lambda: C.twin(did).properties.reported.get("i") == 2, 10)); check(eventually(lambda: w.twin()[2]["reported"]["$version"] == C.twin(did).properties.reported["$version"], 10), "versions differ")
    told = [v for _, v, _ in vs if v is not None]; check(told == sorted(told), told)

@scenario()
def twin_patches_missed_while_away():
    """through a gateway: what changed while away comes to a stored subscription as one patch, once (a hub is asked for it with GET)"""
    did = C.new_device("twa"); f = "$iothub/twin/PATCH/properties/desired/#"; C.desired(did, {"keep": 1, "gone": 1}); w = wire(did, clean=False); w.subscribe(f); check(w.twin()[2]["desired"]["gone"] == 1); w.cut(); time.sleep(1)
    C.desired(did, {"a": 1}); C.desired(did, {"a": 2, "gone": None}); C.desired(did, {"b": {"c": 1}}); time.sleep(A.settle)
    w = Wire(); w.connect(did, clean=False)
    if A.gateway == HUB:
        d = w.twin()[2]["desired"]; check(d.pop("$version") == C.twin(did).properties.desired["$version"] and d == {"keep": 1, "a": 2, "b": {"c": 1}}, d); return
    got = [json.loads(m[1]) for m in w.quiet(4)]; merged = {}
    [merged.update(g) for g in got]; v = merged.pop("$version", None)
    check(merged == {"a": 2, "gone": None, "b": {"c": 1}}, got); check(v == C.twin(did).properties.desired["$version"], v); check(len(got) == 1, "not in one patch", got); w.cut(); time.sleep(0.5); w = Wire(); w.connect(did, clean=False); check(not w.quiet(3), "told twice"); C.desired(did, {"z": 1}); check(json.loads(w.message()[1])["z"] == 1)

@scenario()
def twin_patches_missed_sdk():
    did, c = C.device("twas"); got = []; c.on_twin_desired_properties_patch_received = got.append; C.desired(did, {"first": 1}); check(eventually(lambda: [g for g in got if g.get("first") == 1])); must(c.disconnect); C.desired(did, {"away": 1}); got.clear(); must(c.connect); check(eventually(lambda: [g for g in got if g.get("away") == 1], 15), got); time.sleep(1); C.desired(did, {"back": 1}); check(eventually(lambda: [g for g in got if g.get("back") == 1], 10), got); vs = [g["$version"] for g in got]; check(vs == sorted(vs), vs)

@scenario()
def twin_desired_replaced_and_deleted():
    did = C.new_device("twr"); w = wire(did); w.subscribe("$iothub/twin/PATCH/properties/desired/#"); w.twin(); C.desired(did, {"a": {"b": 1, "c": [1, 2]}, "x": 1}); json.loads(w.message()[1]); C.desired(did, {"a": {"b": None}}); b = json.loads(w.message()[1]); check(b["a"] == {"b": None}, b)
    C.rm.replace_twin(did, Twin(properties=TwinProperties(desired={"y": [1, {"z": 2}]}))); b = json.loads(w.message()[1]); v = b.pop("$version"); check(b.get("y") == [1, {"z": 2}], b); t = w.twin()[2]["desired"]; check(t.pop("$version") == v and t == {"y": [1, {"z": 2}]}, t)

@scenario()
def twin_many_requests_at_once():
    did = C.new_device("twmany"); w = wire(did); t = time.time()
    for i in range(200):
        w.publish("$iothub/twin/GET/?$rid=%d" % i, b" ", qos=i % 2, wait=False)
    seen = set()
    while len(seen) < 200:
        topic = w.parse(w.wait(w.PUBLISH, 20))[0]; m = re.match(r"\$iothub/twin/res/(\d+)/\?\$rid=(\d+)", topic); check(m, topic); check(int(m.group(1)) in (200, 429), topic); seen.add(m.group(2))

@scenario()
def twin_of_a_module_on_the_wire():
    mid = C.new_module("twmod"); w = wire(C.edge, mid); w.subscribe("$iothub/twin/PATCH/properties/desired/#"); C.desired(C.edge, {"m": 1}, mid); check(json.loads(w.message()[1])["m"] == 1); check(w.report({"r": [1]})[0] in (200, 204)); check(eventually(lambda: C.twin(C.edge, mid).properties.reported.get("r") == [1], 10)); check(w.twin()[2]["reported"]["r"] == [1])

@scenario("restart")
def twin_reported_survives_a_restart():
    did, c = C.device("twrest"); must(lambda: c.patch_twin_reported_properties({"before": 1})); subprocess.run(A.restart_cmd, shell=True, check=True); C.connected(c, 60); t = must(c.get_twin, 30); check(t["reported"].get("before") == 1, t); must(lambda: c.patch_twin_reported_properties({"after": 1}), 30); check(eventually(lambda: {"before", "after"} <= set(C.twin(did).properties.reported), 20), C.twin(did).properties.reported)


# ================================================================== methods
@scenario()
def method_wire_form():
    """empty payload is sent as null; names as they are; QoS 0 and 1; an answer with trailing slash"""
    did = C.new_device("mwf"); w = wire(did); w.subscribe("$iothub/methods/POST/#", qos=0)
    def call(name, body, suffix="", status="200", answer=b"1", qos=0):
        k = []; t = threading.Thread(target=lambda: k.append(rest("POST", "/twins/%s/methods" % did, {"methodName": name, "responseTimeoutInSeconds": 10, **body})), daemon=True); t.start(); topic, payload, *_ = w.message(); m = re.match(r"^\$iothub/methods/POST/(.*)/\?\$rid=([^&=/]+)$", topic); check(m, topic); w.publish("$iothub/methods/res/%s/?$rid=%s%s" % (status, m.group(2), suffix), answer, qos=qos); t.join(15); return m.group(1), payload, k[0]
    name, payload, r = call("noPayload", {}); check(json.loads(payload) is None, "payload", payload); check(name == "noPayload" and r.status_code == 200 and r.json() == {"status": 200, "payload": 1}, r.text)
    name, payload, r = call("reboot now ü", {"payload": None}, suffix="/"); check(name == "reboot now ü", name); check(json.loads(payload) is None)
    name, payload, r = call("x-1_y.z", {"payload": {"a": [1, None, "ü"]}}, status="-3", qos=1); check(json.loads(payload) == {"a": [1, None, "ü"]}); check(r.json() == {"status": -3, "payload": 1} or r.json()["status"] != 200, r.text)
    name, payload, r = call("empty", {"payload": ""}, answer=b""); check(json.loads(payload) == "" and r.status_code == 200 and r.json()["status"] == 200 and r.json().get("payload") is None, r.text)
    name, payload, r = call("text", {"payload": "s"}, status="404", answer=b'{"why":"mine"}'); check(r.status_code == 200 and r.json() == {"status": 404, "payload": {"why": "mine"}}, r.text)

@scenario()
def method_errors():
    did = C.new_device("merr"); p = "/twins/%s/methods" % did
    r = rest("POST", p, {"methodName": "x", "responseTimeoutInSeconds": 5}); check(r.status_code == 404, r.status_code); is_error_body(r); w = wire(did); r = rest("POST", p, {"methodName": "x", "responseTimeoutInSeconds": 5}); check(r.status_code == 404, "connected, but not subscribed:", r.status_code)
    r = rest("POST", "/twins/%s-none/methods" % did, {"methodName": "x"}); check(r.status_code == 404); is_error_body(r); w.subscribe("$iothub/methods/POST/#")
    for body in [{}, {"methodName": ""}, {"methodName": "x" * 101}, {"methodName": "x", "responseTimeoutInSeconds": 1}, {"methodName": "x", "responseTimeoutInSeconds": 301}, {"methodName": "x", "connectTimeoutInSeconds": 301}, {"methodName": "x", "connectTimeoutInSeconds": -1}, {"methodName": "x", "responseTimeoutInSeconds": "soon"}]:
        r = rest("POST", p, body); check(r.status_code == 400, body, r.status_code, r.text); is_error_body(r)
    check(rest("POST", p, b"{not json").status_code == 400); check(not w.quiet(0.5), "a refused call reached the device")
    t = time.time(); r = rest("POST", p, {"methodName": "slow", "responseTimeoutInSeconds": "5", "connectTimeoutInSeconds": "0"}); check(r.status_code == 504, r.status_code, r.text); is_error_body(r); check(4 <= time.time() - t < 9)

@scenario()
def method_late_and_double_answers():
    did, c = C.device("mlate"); calls = []; c.on_method_request_received = calls.append; time.sleep(0.5); status_of(lambda: C.invoke(did, "a", 1, timeout=5), 504); first = calls[0]
    box = []; t = threading.Thread(target=lambda: box.append(C.invoke(did, "b", 1, timeout=10)), daemon=True); t.start(); check(eventually(lambda: len(calls) > 1)); answer = lambda rq, p: must(lambda: c.send_method_response(MethodResponse.create_from_method_request(rq, 200, p)))
    answer(first, "late"); answer(calls[1], "own"); answer(calls[1], "again"); t.join(10); check(box == [(200, "own")], box); check(c.connected)

@scenario()
def method_many_at_once():
    did, c = C.device("mmany"); h = lambda rq: threading.Timer(0.2 if rq.payload["i"] % 2 else 0, lambda: c.send_method_response(MethodResponse.create_from_method_request(rq, 200 + rq.payload["i"], rq.payload))).start(); c.on_method_request_received = h; time.sleep(0.5); out = {}
    ts = [threading.Thread(target=lambda i=i: out.__setitem__(i, C.invoke(did, "m%d" % i, {"i": i}, timeout=20)), daemon=True) for i in range(20)]; [t.start() for t in ts]; [t.join(30) for t in ts]; check(out == {i: (200 + i, {"i": i}) for i in range(20)}, out)

@scenario()
def method_large_payload():
    did, c = C.device("mbig"); big = "x" * (120 * 1024); responder(c, lambda rq: (200, rq.payload)); check(C.invoke(did, "echo", big, timeout=20) == (200, big)); status_of(lambda: C.invoke(did, "echo", "y" * (200 * 1024)), 400, 413); check(C.invoke(did, "echo", 1) == (200, 1)); check(c.connected)

@scenario()
def method_waits_for_the_connection():
    did, c = C.device("mwait"); responder_set = threading.Timer(2, lambda: responder(c, lambda rq: (200, "now"))); responder_set.start(); t = time.time(); check(C.invoke(did, "x", 1, connect=15) == (200, "now")); check(time.time() - t > 1); d2 = C.new_device("mwait2"); t = time.time(); status_of(lambda: C.invoke(d2, "x", 1, connect=3), 404); check(2.5 < time.time() - t < 8, time.time() - t)

@scenario()
def method_ends_with_the_connection():
    """a call whose client goes away ends soon and is not given to the next connection"""
    did = C.new_device("mgone"); w = wire(did, clean=False); w.subscribe("$iothub/methods/POST/#"); k = []; t = threading.Thread(target=lambda: k.append(rest("POST", "/twins/%s/methods" % did, {"methodName": "x", "responseTimeoutInSeconds": 10})), daemon=True); t.start(); w.message(); w.cut(); w = Wire(); w.connect(did, clean=False); t.join(15); check(k and k[0].status_code in (404, 504), k); check(not w.quiet(1), "the call came again")

@scenario()
def method_runs_once_under_drops():
    did, c = C.device("mdrop"); seen = []
    def h(rq):
        seen.append(rq.payload); c.send_method_response(MethodResponse.create_from_method_request(rq, 200, rq.payload))
    c.on_method_request_received = h; time.sleep(0.5); ends = []
    for i in range(12):
        if i % 3 == 1:
            C.drop(c)
        try:
            ends.append(C.invoke(did, "n", i, timeout=5, connect=5))
        except Exception as e:
            ends.append(e.response.status_code)
    check(len(seen) == len(set(seen)), "ran twice", seen); check(all(e == (200, i) or e in (404, 504) for i, e in enumerate(ends)), ends); check(sum(isinstance(e, tuple) for e in ends) >= 6, ends)


# ================================================================== cloud to device
@scenario("c2d")
def c2d_wire_form():
    did = C.new_device("cwf"); w = wire(did); w.subscribe("devices/%s/messages/devicebound/#" % did); C.c2d(did, "x"); topic, body, pid, dup, qos = w.message(); check(topic.startswith("devices/%s/messages/devicebound/" % did) and "%%24.to=%%2Fdevices%%2F%s%%2Fmessages%%2Fdevicebound" % did in topic, topic); check(qos == 1 and pid > 0 and not dup and body == b"x")
    C.c2d(did, "", {"empty": "", "u": "ü &=/+%"}, messageId="m/1"); topic, body, *_ = w.message(); bag = topic.split("/devicebound/")[1]; check(body == b"" and "/" not in bag and "+" not in bag and " " not in bag, topic); d = dict([urllib.parse.unquote(x) for x in p.partition("=")[::2]] for p in bag.split("&")); check(d.get("u") == "ü &=/+%" and d.get("$.mid") == "m/1", d)

@scenario("c2d")
def c2d_qos0_subscription():
    did = C.new_device("cq0"); w = wire(did); w.subscribe("devices/%s/messages/devicebound/#" % did, qos=0); [C.c2d(did, str(i)) for i in range(5)]; got = [w.message() for _ in range(5)]; check([g[1] for g in got] == [b"0", b"1", b"2", b"3", b"4"] and all(g[4] == 0 for g in got), got); check(eventually(lambda: C.rm.get_device(did).cloud_to_device_message_count == 0, 10)); w.cut(); w = wire(did); w.subscribe("devices/%s/messages/devicebound/#" % did); check(not w.quiet(1), "delivered again")

@scenario("c2d")
def c2d_again_until_acknowledged():
    did = C.new_device("cack"); f = "devices/%s/messages/devicebound/#" % did; w = wire(did, clean=False); w.subscribe(f); [C.c2d(did, str(i)) for i in range(3)]; got = [w.message(ack=False) for _ in range(3)]; check(len({g[2] for g in got}) == 3, "packet ids", got); w.ack(got[0][2]); time.sleep(0.7); check(C.rm.get_device(did).cloud_to_device_message_count == 2); w.cut()
    w = Wire(); w.connect(did, clean=False); got = [w.message(15) for _ in range(2)]; check([g[1] for g in got] == [b"1", b"2"], got); check(not w.quiet(1)); check(eventually(lambda: C.rm.get_device(did).cloud_to_device_message_count == 0, 10))

@scenario("c2d")
def c2d_order_and_drops():
    did, c = C.device("cord"); got = []; c.on_message_received = lambda x: got.append(int(x.data)); time.sleep(0.3)
    for i in range(60):
        C.c2d(did, str(i))
        if i in (20, 40):
            C.drop(c)
    check(eventually(lambda: set(got) == set(range(60)), 30), sorted(set(range(60)) - set(got))); first = sorted(set(got), key=got.index); check(first == list(range(60)), "order", first)

def iso(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

def feedback(pred, timeout=15):
    found = []
    def look():
        r = rest("GET", "/messages/serviceBound/feedback"); check(r.status_code in (200, 204), r.status_code)
        if r.status_code == 200:
            found.extend(x for x in r.json() if pred(x))
            if r.headers.get("ETag"):
                rest("DELETE", "/messages/serviceBound/feedback/" + r.headers["ETag"].strip('"'))
        return found
    return eventually(look, timeout, 0.3)

@scenario("c2d")
def c2d_expiry_and_feedback():
    if A.c2d != "rest":
        raise Skip("needs --c2d rest")
    did, c = C.device("cexp"); C.c2d(did, "old", messageId="late-" + RUN, expiry=iso(1), ack="full"); C.c2d(did, "new", messageId="fine-" + RUN, expiry=iso(60), ack="full"); time.sleep(2); got = []; c.on_message_received = lambda x: got.append((x.data, x.message_id, x.expiry_time_utc)); check(eventually(lambda: got, 10)); time.sleep(1); check([g[0] for g in got] == [b"new"], got)
    r = feedback(lambda x: x.get("deviceId") == did); eventually(lambda: len(r) >= 2 or r.extend(feedback(lambda x: x.get("deviceId") == did, 1) or []), 10); by = {x["originalMessageId"]: x["statusCode"] for x in r}; check(by == {"late-" + RUN: "Expired", "fine-" + RUN: "Success"}, r); check(C.rm.get_device(did).cloud_to_device_message_count == 0)

@scenario("c2d")
def c2d_purge_and_count():
    did = C.new_device("cpur"); [C.c2d(did, str(i)) for i in range(4)]; check(C.rm.get_device(did).cloud_to_device_message_count == 4); r = rest("DELETE", "/devices/%s/commands" % did); check(r.status_code == 200 and r.json()["totalMessagesPurged"] == 4 and r.json()["deviceId"] == did, r.text); w = wire(did); w.subscribe("devices/%s/messages/devicebound/#" % did); check(not w.quiet(1)); check(C.rm.get_device(did).cloud_to_device_message_count == 0)

@scenario("c2d")
def c2d_refusals():
    r = rest("POST", "/devices/s-%s-none/messages/devicebound" % RUN, b"x"); check(r.status_code == 404, r.status_code); is_error_body(r); did = C.new_device("cref"); r = rest("POST", "/devices/%s/messages/devicebound" % did, b"x", {"iothub-ack": "maybe"}); check(r.status_code == 400, r.status_code); r = rest("POST", "/devices/%s/messages/devicebound" % did, b"x", {"iothub-expiry": "soon"}); check(r.status_code == 400, r.status_code); r = rest("POST", "/devices/%s/messages/devicebound" % did, b"x" * (300 * 1024)); check(r.status_code in (400, 413), r.status_code)

@scenario("c2d")
def c2d_held_for_a_resumed_session():
    """trap 14: a process that starts again sets its handler a moment after connect()"""
    did, c = C.device("chold"); got = []; c.on_message_received = lambda x: got.append("old"); must(c.connect); must(c.shutdown); C.c2d(did, "held"); c = C.client(did); must(c.connect); time.sleep(0.5); c.on_message_received = lambda x: got.append(x.data.decode()); check(eventually(lambda: got, 10) == ["held"] or got == ["held"], got)
    w = None; must(c.shutdown); C.c2d(did, "no subscribe"); w = Wire(); check(w.connect(did, clean=False) == 1); check(w.message(6)[1] == b"no subscribe", "held for ever without a SUBSCRIBE")


# ================================================================== modules: inputs (through a gateway)
def io_route(a, b, **more):
    C.routes(fwd='FROM /messages/modules/%s/outputs/out1 INTO BrokeredEndpoint("/modules/%s/inputs/in1")' % (a, b), **more)

@scenario()
def input_topic_form():
    """trailing slash, escaped bag, sender's ids, no output name"""
    a, b = pair("itf"); ca, w = wire(C.edge, a), wire(C.edge, b); w.subscribe("devices/%s/modules/%s/inputs/#" % (C.edge, b)); t = "devices/%s/modules/%s/messages/events/%%24.on=out1" % (C.edge, a); pre = "devices/%s/modules/%s/inputs/in1/" % (C.edge, b)
    ca.publish(t, b"plain"); topic, body, pid, dup, qos = w.message(); check(topic.startswith(pre) and body == b"plain" and qos == 1 and pid and not dup, topic); bag = topic[len(pre):]; check("%24.on" not in bag and "$.on" not in bag and "/" not in bag, bag)
    parse = lambda topic: {urllib.parse.unquote(k): urllib.parse.unquote(v) if eq else None for k, eq, v in (p.partition("=") for p in topic[len(pre):].split("&") if p)}
    ca.publish(t + "&%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m%2F1&%C3%BC=%25%26%3D&empty=&plus=a%2Bb&none/", b"2"); topic, *_ = w.message(); p = parse(topic); check(p.get("ü") == "%&=" and p.get("empty") == "" and p.get("plus") == "a+b" and p.get("none") in (None, "") and "none" in p, p); check(p.get("$.ct") == "application/json" and p.get("$.mid") == "m/1" and p.get("$.cdid") == C.edge and p.get("$.cmid") == a, p); check("+" not in topic, "a literal + must be escaped", topic)

@scenario()
def input_dotnet_filter():
    """the .NET client subscribes to devices/{d}/modules/{m}/#"""
    a, b = pair("net"); ca, w = wire(C.edge, a), wire(C.edge, b); check(w.subscribe("devices/%s/modules/%s/#" % (C.edge, b)) == [1]); ca.publish("devices/%s/modules/%s/messages/events/%%24.on=out1" % (C.edge, a), b"net"); check(w.message()[1] == b"net")

@scenario()
def input_window_and_redelivery():
    """distinct packet ids in flight, again with DUP and the same id after a resume, in order, only what was not acknowledged"""
    a, b = pair("win"); ca, w = wire(C.edge, a), wire(C.edge, b, clean=False); f = "devices/%s/modules/%s/inputs/#" % (C.edge, b); w.subscribe(f)
    for i in range(12):
        ca.publish("devices/%s/modules/%s/messages/events/%%24.on=out1" % (C.edge, a), str(i))
    got = [w.message(ack=False) for _ in range(12)]; check([int(g[1]) for g in got] == list(range(12)), got); check(len({g[2] for g in got}) == 12 and all(g[2] for g in got), "packet ids", [g[2] for g in got]); [w.ack(g[2]) for g in got[:3]]; w.ack(got[7][2]); time.sleep(0.7); w.cut()
    w = Wire(); check(w.connect(C.edge, b, clean=False) == 1); again = [w.message(10) for _ in range(8)]; check([int(g[1]) for g in again] == [3, 4, 5, 6, 8, 9, 10, 11], [g[1] for g in again]); old = {g[1]: g[2] for g in got}; check(all(g[3] and g[2] == old[g[1]] for g in again), "DUP and packet id", [(g[1], g[2], old[g[1]], g[3]) for g in again]); check(not w.quiet(1))

@scenario()
def input_kept_for_a_module_that_was_never_there():
    a, b = pair("nev"); ca = C.client(C.edge, a)
    for i in range(5):
        must(lambda: ca.send_message_to_output(str(i), "out1"))
    cb = C.client(C.edge, b); got = []; cb.on_message_received = lambda x: got.append(x.data.decode()); check(eventually(lambda: len(got) >= 5, 15), got); check(got == list("01234"), got)

@scenario("restart")
def input_kept_over_a_restart():
    a, b = pair("rst"); ca, cb = C.client(C.edge, a), C.client(C.edge, b); got = []; cb.on_message_received = lambda x: got.append(x.data.decode()); must(ca.connect); must(cb.disconnect)
    for i in range(10):
        must(lambda: ca.send_message_to_output(str(i), "out1"))
    subprocess.run(A.restart_cmd, shell=True, check=True); must(cb.connect, 60); check(eventually(lambda: len(got) >= 10, 20), got); check(got == [str(i) for i in range(10)], got); C.connected(ca, 30); must(lambda: ca.send_message_to_output("after", "out1"), 30); check(eventually(lambda: got[-1] == "after", 15), got)

@scenario()
def input_order_under_drops():
    a, b = pair("drp"); ca, cb = C.client(C.edge, a), C.client(C.edge, b); got = []; cb.on_message_received = lambda x: got.append(int(x.data)); must(ca.connect); time.sleep(0.5)
    for i in range(100):
        must(lambda: ca.send_message_to_output(str(i), "out1"))
        if i % 25 == 10:
            C.drop(cb)
    check(eventually(lambda: set(got) == set(range(100)), 30), sorted(set(range(100)) - set(got))); check(sorted(set(got), key=got.index) == list(range(100)), "order")

@scenario()
def input_fan_out():
    """one output to two modules and the hub; two routes to one input deliver once"""
    m = C.mark(); a, b = C.new_module("fo-a"), C.new_module("fo-b"); d = C.new_module("fo-d"); to = lambda x: 'FROM /messages/modules/%s/outputs/out1 INTO BrokeredEndpoint("/modules/%s/inputs/in1")' % (a, x); C.routes(one=to(b), two=to(d), again=to(b), up="FROM /messages/modules/%s/outputs/out1 INTO $upstream" % a)
    ca, wb, wd = wire(C.edge, a), wire(C.edge, b), wire(C.edge, d); [w.subscribe("devices/%s/modules/%s/inputs/#" % (C.edge, x)) for w, x in ((wb, b), (wd, d))]; ca.publish("devices/%s/modules/%s/messages/events/%%24.on=out1" % (C.edge, a), b"fan"); check(wb.message()[1] == b"fan" and wd.message()[1] == b"fan"); check(not wb.quiet(1), "two routes to one input delivered twice"); check(C.telemetry(m, lambda x: x["module"] == a)[0]["body"] == b"fan")

@scenario()
def input_from_a_leaf_device():
    b = C.new_module("lf-b"); did = C.new_device("lf"); C.routes(leaf='FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/%s/inputs/in1")' % b); cb = C.client(C.edge, b); got = []; cb.on_message_received = got.append; c = C.client(did); must(c.connect); time.sleep(0.5); must(lambda: c.send_message("leaf")); check(eventually(lambda: got), "not routed"); check(got[0].data == b"leaf" and got[0].custom_properties.get("$.cdid") == did and "$.cmid" not in got[0].custom_properties, vars(got[0])); C.routes()

@scenario()
def input_qos0_subscription():
    a, b = pair("iq0"); ca, w = wire(C.edge, a), wire(C.edge, b); check(w.subscribe("devices/%s/modules/%s/inputs/#" % (C.edge, b), qos=0) == [0]); ca.publish("devices/%s/modules/%s/messages/events/%%24.on=out1" % (C.edge, a), b"q0"); t, body, pid, dup, qos = w.message(); check(body == b"q0" and qos == 0); check(not w.quiet(1))

@scenario()
def input_slow_receiver_does_not_hold_up_another():
    a, b = pair("slow"); d = C.new_module("slow-d"); io_route(a, b, two='FROM /messages/modules/%s/outputs/out1 INTO BrokeredEndpoint("/modules/%s/inputs/in1")' % (a, d)); ca, wb, wd = wire(C.edge, a), wire(C.edge, b), wire(C.edge, d); [w.subscribe("devices/%s/modules/%s/inputs/#" % (C.edge, x)) for w, x in ((wb, b), (wd, d))]
    for i in range(100):
        ca.publish("devices/%s/modules/%s/messages/events/%%24.on=out1" % (C.edge, a), str(i))
    check([int(wd.message()[1]) for _ in range(100)] == list(range(100))); seen = wb.message(ack=False); check(seen[1] == b"0"); wb.ack(seen[2]); rest_ = [int(wb.message()[1]) for _ in range(99)]; check(rest_ == list(range(1, 100)), rest_[:5])


# ================================================================== module to module, edge environment
def module_token(mid, ttl=3600, key=None):
    return C.sas(C.edge, mid, ttl=ttl, key=key)

def m2m(caller, target, body, auth=None, header=None):
    return rest("POST", "/twins/%s/modules/%s/methods" % (C.edge, target) if "/" not in target else "/twins/%s/methods" % target.strip("/"), body, {"x-ms-edge-moduleId": header or "%s/%s" % (C.edge, caller)}, auth or module_token(caller), host=A.gateway)

@scenario()
def module_to_module_rest():
    a, b = C.new_module("r-a"), C.new_module("r-b"); did, leaf = C.device("r-leaf"); cb = C.client(C.edge, b); responder(cb, lambda rq: (201, {"n": rq.name, "p": rq.payload})); responder(leaf, lambda rq: (202, rq.payload)); time.sleep(0.5)
    r = m2m(a, b, {"methodName": "m n", "payload": {"x": [None, "ü"]}, "responseTimeoutInSeconds": 5}); check(r.status_code == 200 and r.json() == {"status": 201, "payload": {"n": "m n", "p": {"x": [None, "ü"]}}}, r.status_code, r.text); check(r.headers["Content-Type"].startswith("application/json")); r = m2m(a, "/" + did, {"methodName": "l", "payload": 7}); check(r.status_code == 200 and r.json() == {"status": 202, "payload": 7}, r.text)
    for what, r, codes in [("not connected", m2m(a, a, {"methodName": "x", "responseTimeoutInSeconds": 5}), (404,)), ("unknown", m2m(a, "nobody", {"methodName": "x"}), (404,)), ("bad body", m2m(a, b, b"{"), (400,)), ("no name", m2m(a, b, {"payload": 1}), (400,)), ("wrong key", m2m(a, b, {"methodName": "x"}, auth=module_token(a, key=KEY2)), (401,)), ("expired", m2m(a, b, {"methodName": "x"}, auth=module_token(a, ttl=-3600)), (401,)), ("another's token", m2m(a, b, {"methodName": "x"}, auth=module_token(b)), (401, 403)), ("no token", m2m(a, b, {"methodName": "x"}, auth="none"), (401,)), ("a leaf's token", m2m(a, b, {"methodName": "x"}, auth=C.sas(did), header=did), (401, 403))]:
        check(r.status_code in codes, what, r.status_code, r.text); check(isinstance(r.json(), dict), what, r.text)
    cb.on_method_request_received = lambda rq: None; t = time.time(); r = m2m(a, b, {"methodName": "slow", "responseTimeoutInSeconds": 5}); check(r.status_code == 504 and 4 < time.time() - t < 9, r.status_code, r.text)

@scenario()
def module_to_module_many():
    a, b = C.new_module("rm-a"), C.new_module("rm-b"); cb = C.client(C.edge, b); responder(cb, lambda rq: (200, rq.payload)); time.sleep(0.5); out = {}; ts = [threading.Thread(target=lambda i=i: out.__setitem__(i, m2m(a, b, {"methodName": "e", "payload": i, "responseTimeoutInSeconds": 20}).json()), daemon=True) for i in range(20)]; [t.start() for t in ts]; [t.join(30) for t in ts]; check(out == {i: {"status": 200, "payload": i} for i in range(20)}, out)

@scenario("workload")
def edge_environment_all_features():
    a = C.new_module("envall"); C.routes(up="FROM /messages/modules/%s/outputs/up INTO $upstream" % a); m = C.mark(); c = edge_env(a); got = []; must(c.get_twin); c.on_twin_desired_properties_patch_received = got.append; responder(c, lambda rq: (200, rq.payload)); time.sleep(0.5); C.desired(C.edge, {"e": 1}, a); check(eventually(lambda: [g for g in got if g.get("e") == 1]), got); check(C.invoke(C.edge, "x", 5, a) == (200, 5)); must(lambda: c.patch_twin_reported_properties({"r": 1})); check(eventually(lambda: C.twin(C.edge, a).properties.reported.get("r") == 1)); must(lambda: c.send_message_to_output("x", "up")); check(C.telemetry(m, lambda x: x["module"] == a)); C.drop(c); time.sleep(0.3); C.connected(c); check(C.invoke(C.edge, "x", 6, a, connect=5) == (200, 6))

@scenario("workload", "restart")
def edge_environment_over_a_restart():
    a = C.new_module("envr"); c = edge_env(a); responder(c, lambda rq: (200, 1)); time.sleep(0.5); subprocess.run(A.restart_cmd, shell=True, check=True); C.connected(c, 60); check(eventually(lambda: C.invoke(C.edge, "x", 1, a, connect=5) == (200, 1), 20))


# ================================================================== websockets, renewal
def drop_websocket(client):
    stage = client._mqtt_pipeline._pipeline
    while stage.next:
        stage = stage.next
    s = stage.transport._mqtt_client.socket()
    try:
        socket.socket.shutdown(getattr(s, "_socket", s), socket.SHUT_RDWR)
    except OSError:
        pass

@scenario()
def websocket_all_features():
    did, c = C.device("wsall", websockets=True); got = []; c.on_message_received = lambda x: got.append(x.data); responder(c, lambda rq: (200, rq.payload)); must(c.get_twin); C.c2d(did, "ws"); check(eventually(lambda: got, 10)); big = "x" * 100000; check(C.invoke(did, "x", big) == (200, big)); must(lambda: c.send_message(Message(os.urandom(250000))), 20); drop_websocket(c); time.sleep(0.3); C.connected(c); check(C.invoke(did, "x", 1, connect=5) == (200, 1))

@scenario()
def renewal_in_a_tight_loop():
    """trap 15: sastoken_ttl of 120 s or less makes the SDK reconnect for ever; others do not notice"""
    did, c = C.device("tight", sastoken_ttl=120); other = C.new_device("tighto"); w = wire(other); within(c.connect, 5); worst, end = 0, time.time() + 4
    while time.time() < end:
        t = time.time(); w.publish("devices/%s/messages/events/" % other, b"x"); worst = max(worst, time.time() - t); time.sleep(0.05)
    check(worst < 2, "another client waited", worst, "s"); within(c.shutdown, 10); c = C.client(did); must(c.connect, 40); must(lambda: c.send_message("after"))

@scenario()
def renewal_while_sending():
    """DISCONNECT and CONNECT every 3 s under load: nothing lost, nothing out of order"""
    m = C.mark(); did, c = C.device("rens", sastoken_ttl=123); n, end = 0, time.time() + 8
    while time.time() < end:
        must(lambda: c.send_message(str(n)), 20); n += 1
    r = C.telemetry(m, lambda x: x["device"] == did, n, 30); got = [int(x["body"]) for x in r]; check(sorted(set(got)) == list(range(n)), "lost", set(range(n)) - set(got)); check(sorted(set(got), key=got.index) == list(range(n)), "order")


# ================================================================== registry
@scenario()
def registry_bulk():
    ids = ["s-%s-bulk%d" % (RUN, i) for i in range(3)]; C.made.extend(ids); auth = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=KEY, secondary_key=KEY)); item = lambda i, mode, **k: ExportImportDevice(id=i, import_mode=mode, status=k.pop("status", "enabled"), authentication=auth, **k)
    r = C.rm.bulk_create_or_update_devices([item(i, "create") for i in ids]); check(r.is_successful and not r.errors, r); check(C.rm.get_device(ids[0]).authentication.symmetric_key.primary_key == KEY)
    r = rest("POST", "/devices", [{"id": ids[0], "importMode": "create", "status": "enabled"}, {"id": "s-%s-bulk9" % RUN, "importMode": "create", "status": "enabled"}]); C.made.append("s-%s-bulk9" % RUN); check(r.status_code in (200, 400) and r.json()["isSuccessful"] is False and [e["deviceId"] for e in r.json()["errors"]] == [ids[0]], r.text); check(C.rm.get_device("s-%s-bulk9" % RUN).status == "enabled")
    r = C.rm.bulk_create_or_update_devices([item(ids[1], "update", status="disabled")]); check(r.is_successful and C.rm.get_device(ids[1]).status == "disabled"); r = C.rm.bulk_create_or_update_devices([item(ids[1], "createOrUpdate", status="enabled")]); check(r.is_successful and C.rm.get_device(ids[1]).status == "enabled"); d = C.rm.get_device(ids[2]); r = rest("POST", "/devices", [{"id": ids[2], "importMode": "deleteIfMatchETag", "eTag": "wrong"}]); check(r.json()["isSuccessful"] is False, r.text); C.rm.get_device(ids[2]); r = rest("POST", "/devices", [{"id": i, "importMode": "delete"} for i in ids]); check(r.json()["isSuccessful"], r.text); status_of(lambda: C.rm.get_device(ids[0]), 404)

@scenario()
def registry_modules():
    did = C.new_device("regm"); mo = C.rm.create_module_with_sas(did, "m1", "IotEdge", None, None); check(mo.managed_by == "IotEdge" and mo.authentication.symmetric_key.primary_key and mo.etag and mo.generation_id and mo.device_id == did, mo); status_of(lambda: C.rm.create_module_with_sas(did, "m1", "x", KEY, KEY), 409); u = C.rm.update_module_with_sas(did, "m1", "other", mo.etag, KEY, KEY2); check(u.etag != mo.etag and u.managed_by == "other" and u.authentication.symmetric_key.secondary_key == KEY2 and u.generation_id == mo.generation_id, u); status_of(lambda: C.rm.update_module_with_sas(did, "m1", "y", mo.etag, KEY, KEY), 412); status_of(lambda: C.rm.create_module_with_sas(did + "-none", "m", "", KEY, KEY), 404); status_of(lambda: C.rm.get_module(did, "none"), 404); status_of(lambda: C.rm.delete_module(did, "m1", mo.etag), 412)
    t = C.rm.update_module_twin(did, "m1", Twin(tags={"k": 1}, properties=TwinProperties(desired={"a": 1}))); check(t.module_id == "m1" and t.tags == {"k": 1} and t.properties.desired["a"] == 1); t2 = C.rm.replace_module_twin(did, "m1", Twin(tags={}, properties=TwinProperties(desired={"b": 2})), t.etag); check("a" not in t2.properties.desired and t2.etag != t.etag); C.rm.delete_module(did, "m1"); C.rm.create_module_with_sas(did, "m1", "", KEY, KEY); check("b" not in C.rm.get_module_twin(did, "m1").properties.desired, "a module made anew has the old twin")

@scenario()
def registry_etags():
    did = C.new_device("etag"); d = C.rm.get_device(did); body = lambda e=None: {"deviceId": did, "status": "enabled", "authentication": {"type": "sas", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}}}; p = "/devices/" + did
    for etag, code in [('"wrong"', 412), ("wrong", 412), ('"%s"' % d.etag, 200), ('"%s"' % d.etag, 412), ('"*"', 200), ("*", 200)]:
        r = rest("PUT", p, body(), {"If-Match": etag}); check(r.status_code == code, etag, r.status_code)
        if code >= 300:
            is_error_body(r)
    r = rest("GET", p); check(r.headers.get("ETag", "").strip('"') == r.json()["etag"], r.headers); check(rest("PUT", p + "-none", {**body(), "deviceId": did + "-none"}, {"If-Match": "*"}).status_code == 404); check(rest("PUT", p, {**body(), "deviceId": "another"}, {"If-Match": "*"}).status_code == 400); check(rest("DELETE", p, headers={"If-Match": '"wrong"'}).status_code == 412); t = rest("GET", "/twins/" + did).json(); r = rest("PATCH", "/twins/" + did, {"tags": {"a": 1}}, {"If-Match": '"%s"' % t["etag"]}); check(r.status_code == 200 and r.json()["etag"] != t["etag"] and r.json()["version"] == t["version"] + 1, r.text); r = rest("PATCH", "/twins/" + did, {"tags": {"a": 2}}, {"If-Match": '"%s"' % t["etag"]}); check(r.status_code == 412); is_error_body(r)

@scenario()
def registry_refuses_nonsense():
    p = "/devices/s-%s-bad" % RUN
    for what, path, body in [("no JSON", p, b"{"), ("bad status", p, {"deviceId": p[9:], "status": "maybe"}), ("bad auth type", p, {"deviceId": p[9:], "authentication": {"type": "magic"}}), ("bad key", p, {"deviceId": p[9:], "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "not base64!", "secondaryKey": KEY}}}), ("bad thumbprint", p, {"deviceId": p[9:], "authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "xyz", "secondaryThumbprint": ""}}}), ("bad id", "/devices/" + q("a b/c"), {"deviceId": "a b/c"}), ("long id", "/devices/" + "x" * 129, {"deviceId": "x" * 129})]:
        r = rest("PUT", path, body); check(r.status_code in (400, 404), what, r.status_code, r.text); is_error_body(r)
    check(rest("GET", p).status_code == 404); r = rest("GET", "/devices/x", auth="SharedAccessSignature sr=x&sig=y&se=1"); check(r.status_code == 401); is_error_body(r); r = rest("GET", "/nothing/here"); check(r.status_code in (400, 404)); is_error_body(r); r = rest("GET", "/jobs/v2/x"); check(r.status_code in (404, 501)); is_error_body(r)

@scenario()
def registry_twin_limits():
    did = C.new_device("rtl")
    for patch in [{"properties": {"desired": {"a.b": 1}}}, {"properties": {"desired": {"$x": 1}}}, {"properties": {"desired": 5}}, {"tags": {"a b": 1}}, {"tags": [1]}, [1], {"properties": {"desired": {"a": "x" * 5000}}}]:
        r = rest("PATCH", "/twins/" + did, patch); check(r.status_code == 400, patch if len(str(patch)) < 99 else "long", r.status_code, r.text[:200]); is_error_body(r)
    t = C.twin(did); check({k for k in t.properties.desired if k[0] != "$"} == set() and not t.tags); t = C.rm.update_twin(did, Twin(tags={"l": [1, {"x": 2}], "n": {"m": None}}, properties=TwinProperties(desired={"d": {"e": 1.5}}))); check(t.tags["l"] == [1, {"x": 2}]); md = t.properties.desired["$metadata"]; check("$lastUpdated" in md and "$lastUpdated" in md["d"] and "$lastUpdated" in md["d"]["e"], md)

@scenario()
def registry_connection_state():
    did, c = C.device("cst"); d = C.rm.get_device(did); check(d.connection_state == "Disconnected"); must(c.connect); must(lambda: c.send_message("x")); check(eventually(lambda: C.rm.get_device(did).connection_state == "Connected", 10), "not shown as connected"); check(C.twin(did).connection_state == "Connected"); stats = C.rm.get_service_statistics(); check(stats.connected_device_count >= 1); t = eventually(lambda: (lambda x: x if x and x.year > 2000 else None)(C.rm.get_device(did).last_activity_time), 10); check(t, "no last activity"); since = C.rm.get_device(did).connection_state_updated_time; check(since.year > 2000); must(c.disconnect); check(eventually(lambda: C.rm.get_device(did).connection_state == "Disconnected", 15), "still shown as connected"); s = C.rm.get_device_registry_statistics(); check(s.total_device_count >= 1 and s.total_device_count == s.enabled_device_count + s.disabled_device_count)

@scenario()
def registry_list_top():
    check(len(C.rm.get_devices(1)) == 1); check(C.edge in {d.device_id for d in C.rm.get_devices(1000)})

def ask(text, size=None, token=None):
    r = C.rm.query_iot_hub(QuerySpecification(query=text), token, size); return r

@scenario()
def query_with_continuation():
    ids = []
    for i in range(7):
        did = C.new_device("q%d" % i) if i < 2 else "s-%s-q%d" % (RUN, i)
        if i >= 2:
            C.rm.create_device_with_sas(did, KEY, KEY, "enabled"); C.made.append(did)
        C.rm.update_twin(did, Twin(tags={"batch": RUN, "i": i, "odd": bool(i % 2)})); ids.append(did)
    text = "SELECT * FROM devices WHERE tags.batch = '%s'" % RUN; got, token, pages = [], None, 0
    while True:
        r = ask(text, 3, token); got += [t.device_id for t in r.items]; token = r.continuation_token; pages += 1
        if not token:
            break
        check(pages < 10, "endless continuation")
    check(sorted(got) == sorted(ids) and pages == 3, got, pages)

@scenario()
def query_operators():
    C.rm.update_twin(C.new_device("qa"), Twin(tags={"q": RUN, "n": 1, "name": "ab"}, properties=TwinProperties(desired={"d": {"x": 5}}))); b = C.new_device("qb"); C.rm.update_twin(b, Twin(tags={"q": RUN, "n": 2.5, "name": "cd", "f": True})); set_keys(b, KEY, KEY, "disabled"); C.rm.update_twin(C.new_device("qc"), Twin(tags={"q": RUN, "n": 10, "name": "o'x"})); me = "tags.q = '%s' AND " % RUN
    for where, want in {"tags.n > 1": "bc", "tags.n >= 1": "abc", "tags.n < 2.5": "a", "tags.n <= 2.5": "ab", "tags.n != 1": "bc", "tags.n <> 1": "bc", "NOT tags.n = 1": "bc", "(tags.n = 1 OR tags.n = 10)": "ac", "tags.n IN [1, 10]": "ac", "status = 'disabled'": "b", "status = 'enabled' AND connectionState = 'Disconnected'": "ac", "deviceId = '%s'" % b: "b", "properties.desired.d.x = 5": "a", "is_defined(tags.f)": "b", "NOT is_defined(tags.f)": "ac", "tags.name = 'o''x'": "c", "tags.name >= 'cd'": "bc", "tags.f = true": "b", "(tags.n = 1 AND tags.name = 'ab') OR (tags.q = '%s' AND tags.n = 2.5)" % RUN: "ab", "capabilities.iotEdge = false": "abc", "tags.n NIN [1]": "bc"}.items():
        try:
            got = "".join(sorted(t.device_id[-1] for t in ask("SELECT * FROM devices WHERE " + me + "(" + where + ")").items))
        except Exception as e:
            raise AssertionError("%s: %s" % (where, getattr(getattr(e, "response", None), "text", e)))
        check(got == want, where, "gave", got, "wanted", want)
    for bad in ["", "SELECT", "SELECT * FROM nowhere", "SELECT * FROM devices WHERE", "SELECT * FROM devices WHERE tags.n >", "SELECT * FROM devices WHERE (tags.n = 1", "DROP TABLE devices"]:
        r = rest("POST", "/devices/query", {"query": bad}); check(r.status_code == 400, bad, r.status_code); is_error_body(r)

@scenario()
def query_modules():
    mid = C.new_module("qm"); C.rm.update_module_twin(C.edge, mid, Twin(tags={"qm": RUN})); r = ask("SELECT * FROM devices.modules WHERE tags.qm = '%s'" % RUN); check([(t.device_id, t.module_id) for t in r.items] == [(C.edge, mid)], r.items); r = ask("select * from devices.modules where deviceId = '%s' and moduleId = '%s'" % (C.edge, mid)); check(len(r.items) == 1); raw = rest("POST", "/devices/query", {"query": "SELECT * FROM devices WHERE deviceId = 'none'"}); check(raw.status_code == 200 and raw.json() == [] and "x-ms-continuation" not in raw.headers and raw.headers["x-ms-item-type"].lower() == "twin", raw.headers)

@scenario()
def configuration_content_rules():
    mid = C.new_module("ccr"); put = lambda body, dev=None: rest("POST", "/devices/%s/applyConfigurationContent" % (dev or C.edge), body); C.desired(C.edge, {"old": 1, "keep": {"x": 1}}, mid); r = put({"modulesContent": {mid: {"properties.desired.keep.y": 2}}}); check(r.status_code == 204 and not r.content, r.status_code, r.text); d = C.twin(C.edge, mid).properties.desired; check(d["old"] == 1 and d["keep"]["y"] == 2, d); r = put({"modulesContent": {mid: {"properties.desired": {"new": 1}}}}); d = C.twin(C.edge, mid).properties.desired; check(r.status_code == 204 and {k for k in d if k[0] != "$"} == {"new"}, d)
    for body in [{"modulesContent": 5}, {"modulesContent": {mid: {"properties.desired": 5}}}, {"modulesContent": {mid: {"nonsense": {}}}}, b"{"]:
        r = put(body); check(r.status_code == 400, body, r.status_code); is_error_body(r)
    check(put({"modulesContent": {}}, "s-%s-none" % RUN).status_code == 404); check(C.twin(C.edge, mid).properties.desired["new"] == 1)
    if A.gateway != HUB:
        C.routes()

@scenario()
def file_upload_by_another():
    did, c = C.device("fup"); other = C.new_device("fupo"); r = must(lambda: c.get_storage_info_for_blob("x.bin")); check(r["blobName"].endswith("x.bin")); must(lambda: c.notify_blob_upload_status(r["correlationId"], False, 500, "no")); r = rest("POST", "/devices/%s/files" % did, {"blobName": "y"}, auth=C.sas(other)); check(r.status_code in (401, 403), r.status_code); is_error_body(r); r = rest("POST", "/devices/%s/files" % did, {}, auth=C.sas(did)); check(r.status_code == 400, r.status_code)

def uploaded(did, name, auth=None):
    """(status, body) as the owner reads it"""
    r = rest("GET", "/uploads/%s/%s" % (did, q(name).replace("%2F", "/")), auth=auth); return r.status_code, r.content

def begun(c, name):
    """-> (correlation id, URL with its token)"""
    i = must(lambda: c.get_storage_info_for_blob(name)); return i["correlationId"], "https://%s/%s/%s%s" % (i["hostName"], i["containerName"], i["blobName"], i["sasToken"])

@scenario()
def file_upload_with_azure_storage():
    """whole, overwritten, in blocks; not without being told to overwrite; not after the notification"""
    did, c = C.device("fst"); cid, url = begun(c, "logs/a b.txt"); once = dict(connection_verify=A.ca, retry_total=0)
    with BlobClient.from_blob_url(url.replace(" ", "%20"), **once) as b:
        b.upload_blob(b"first"); check(uploaded(did, "logs/a b.txt") == (200, b"first")); check(b.download_blob().readall() == b"first" and b.get_blob_properties().size == 5 and b.exists())
        try:
            b.upload_blob(b"second"); check(False, "overwritten without a word")
        except sex.ResourceExistsError:
            pass
        b.upload_blob(b"second", overwrite=True, validate_content=True); check(uploaded(did, "logs/a b.txt")[1] == b"second"); b.upload_blob(b"", overwrite=True); check(uploaded(did, "logs/a b.txt") == (200, b""))
    big = os.urandom(5 * 1024 * 1024 + 17)
    with BlobClient.from_blob_url(url.replace(" ", "%20"), max_single_put_size=1 << 20, max_block_size=1 << 20, **once) as b:
        b.upload_blob(big, overwrite=True, max_concurrency=4); check(uploaded(did, "logs/a b.txt")[1] == big, "blocks"); check(b.download_blob(offset=1000, length=50).readall() == big[1000:1050])
        b.upload_blob((big[i:i + 300000] for i in range(0, len(big), 300000)), overwrite=True); check(uploaded(did, "logs/a b.txt")[1] == big, "a stream of unknown length")
        must(lambda: c.notify_blob_upload_status(cid, True, 200, "ok"))
        try:
            b.upload_blob(b"late", overwrite=True); check(False, "written after the notification")
        except sex.ClientAuthenticationError as e:
            check(e.status_code == 403 and "ended" in str(e), e)
    check(uploaded(did, "logs/a b.txt")[1] == big); r = rest("GET", "/devices/%s/files" % did); check([(f["blobName"], f["size"]) for f in r.json()] == [(did + "/logs/a b.txt", len(big))], r.text); check(rest("DELETE", "/uploads/%s/logs/a%%20b.txt" % did).status_code == 202); check(uploaded(did, "logs/a b.txt")[0] == 404); check(uploaded(did, "logs/a b.txt", C.sas(did))[0] == 401)

@scenario()
def file_upload_tokens():
    """for its own blob only, by its own signature only, of a device that is still the same"""
    did, c = C.device("ftk"); (_, one), (_, two) = begun(c, "one"), begun(c, "two"); put = lambda url, body=b"x": requests.put(url, data=body, headers={"x-ms-blob-type": "BlockBlob"}, verify=A.ca, timeout=15).status_code; check(put(one) == 201)
    bare, token = two.split("?", 1); sig = token.rsplit("sig=", 1)[1]
    for what, url in [("another's blob", one.split("?")[0] + "?" + token), ("no signature", bare), ("another signature", bare + "?" + token.replace(sig, sig[:-8] + "AAAAA%3D")), ("later", bare + "?" + re.sub("se=[^&]*", "se=2999-01-01T00%3A00%3A00Z", token).replace(sig, "AAAA")), ("outside", bare[:-3] + "%2e%2e/x?" + token)]:
        check(put(url) in (401, 403), what, put(url))
    check(put(two, b"y" * 3000000) == 201); C.rm.delete_device(did); C.rm.create_device_with_sas(did, KEY, KEY, "enabled", device_scope=C.scope); check(put(two) == 403, "a token of the deleted device")

@scenario()
def registry_lists_its_configurations_and_says_what_is_not_served():
    from azure.iot.hub import IoTHubConfigurationManager, IoTHubJobManager, DigitalTwinClient
    check(IoTHubConfigurationManager.from_connection_string(A.service_cs).get_configurations() == [])
    for call in [lambda: IoTHubJobManager.from_connection_string(A.service_cs).get_import_export_jobs(), lambda: DigitalTwinClient.from_connection_string(A.service_cs).get_digital_twin("x"), lambda: IoTHubConfigurationManager.from_connection_string(A.service_cs).get_configuration("x")]:
        status_of(call, 501)

@scenario()
def registry_x509_devices_and_modules():
    did = "s-%s-rx" % RUN; C.made.append(did); d = C.rm.create_device_with_x509(did, "a" * 40, "B" * 40, "enabled"); check(d.authentication.type == "selfSigned" and d.authentication.x509_thumbprint.primary_thumbprint.lower() == "a" * 40); d = C.rm.update_device_with_x509(did, d.etag, "c" * 64, "d" * 64, "disabled"); check(d.status == "disabled"); m = C.rm.create_module_with_x509(did, "m", "me", "a" * 40, "b" * 40); check(m.authentication.type == "selfSigned"); d = C.rm.update_device_with_certificate_authority(did, "*", "enabled"); check(d.authentication.type == "certificateAuthority" and d.status == "enabled"); d = C.rm.update_device_with_sas(did, "*", KEY, KEY2, "enabled"); check(d.authentication.symmetric_key.secondary_key == KEY2); status_of(lambda: C.rm.update_device_with_sas(did, "d3Jvbmc=", KEY, KEY, "enabled"), 412); status_of(lambda: C.rm.delete_device(did, "d3Jvbmc="), 412); status_of(lambda: C.rm.delete_module(did, "m", "d3Jvbmc="), 412)
    s = C.rm.get_device_registry_statistics(); check(s.total_device_count == s.enabled_device_count + s.disabled_device_count >= 1)

@scenario()
def registry_bulk_twins():
    did = "s-%s-btw" % RUN; C.made.append(did); one = lambda item: rest("POST", "/devices", [{"id": did, **item}]).json(); check(one({"importMode": "create", "status": "enabled", "tags": {"a": 1}, "properties": {"desired": {"x": 1}}})["isSuccessful"]); t = C.twin(did); check(t.tags == {"a": 1} and t.properties.desired["x"] == 1); r = C.rm.bulk_create_or_update_devices([ExportImportDevice(id=did, import_mode="updateTwin", tags={"b": 2})]); check(r.is_successful, r); check(C.twin(did).tags == {"a": 1, "b": 2}); r = one({"importMode": "updateTwinIfMatchETag", "twinETag": t.etag, "tags": {"c": 3}}); check(not r["isSuccessful"] and r["errors"][0]["errorCode"] == "PreconditionFailed", r)

@scenario()
def query_counts_projects_and_says_where_it_fails():
    me = "tags.p = '%s'" % RUN
    for i in range(5):
        did = C.new_device("qp%d" % i) if i < 1 else "s-%s-qp%d" % (RUN, i)
        if i >= 1:
            C.rm.create_device_with_sas(did, KEY, KEY, "enabled"); C.made.append(did)
        C.rm.update_twin(did, Twin(tags={"p": RUN, "i": i}))
    raw = lambda text, **h: rest("POST", "/devices/query", {"query": text}, h); r = raw("SELECT COUNT() AS total FROM devices WHERE " + me); check(r.json() == [{"total": 5}] and r.headers["x-ms-item-type"] == "raw", r.text); r = raw("SELECT deviceId, tags.i AS n FROM devices WHERE %s AND tags.i > 2" % me); check(r.json() == [{"deviceId": "s-%s-qp%d" % (RUN, i), "n": i} for i in (3, 4)], r.text); check(len(raw("SELECT TOP 2 * FROM devices WHERE " + me).json()) == 2)
    r = raw("select * from devices.modules where devices.deviceId = '%s'" % C.edge); check({t["moduleId"] for t in r.json()} >= {"$edgeAgent", "$edgeHub"}, r.text); check(len(ask("SELECT * FROM devices WHERE %s AND STARTS_WITH(deviceId, 's-%s-qp')" % (me, RUN)).items) == 5)
    one = raw("SELECT * FROM devices WHERE " + me, **{"x-ms-max-item-count": "2"}); seen = [t["deviceId"] for t in one.json()]; C.rm.delete_device(seen[0]); rest_of = raw("SELECT * FROM devices WHERE " + me, **{"x-ms-continuation": one.headers["x-ms-continuation"]}); check([t["tags"]["i"] for t in rest_of.json()] == [2, 3, 4] and "x-ms-continuation" not in rest_of.headers, rest_of.text); r = raw("SELECT * FROM devices WHERE tags.i LIKE 3"); check(r.status_code == 400 and "character 36" in r.json()["Message"], r.text); check(raw("SELECT * FROM devices", **{"x-ms-continuation": "bogus"}).status_code == 400)


if __name__ == "__main__":
    rc = base.main()
    sys.stdout.flush()
    os._exit(rc)      # SDK threads can be left over after a failure
