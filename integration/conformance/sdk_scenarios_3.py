#!/usr/bin/env python3
"""Scenarios against the grain: load, cuts, restarts and odd clients together, with the command line of
sdk_scenarios.py and the helpers of sdk_scenarios_2.py, which lie beside this file.

Last line printed: "N passed, N failed".  Exit status 1 when anything failed.
"""
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sdk_scenarios_2 as two                                  # parses the command line
import base64, hashlib, json, re, socket, ssl, struct, subprocess, threading, time, urllib.parse, uuid
import requests
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, X509, exceptions as dex
from azure.iot.hub.models import Twin, TwinProperties
from sdk_scenarios import A, C, CA, HUB, KEY, RUN, SVC, Skip, check, edge_env, eventually, must, pair, responder, scenario, within
from sdk_scenarios_2 import DIED, KEY2, REFUSED, Wire, certificate, drop_websocket, gone_within, is_error_body, is_lost, iso, m2m, q, rest, status_of, wire, x509_client, x509_device

base = two.base
base.SCN.clear()
METHODS, DESIRED = "$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#"
ODD = "ü€😀 %&=?+/#$\\\"'"                                     # what has to be escaped, and what is no ASCII


def restart():
    subprocess.run(A.restart_cmd, shell=True, check=True)


def together(fs, timeout=60):
    """all at once; what each gave, or its exception"""
    out = [None] * len(fs)
    def go(i, f):
        try:
            out[i] = f()
        except BaseException as e:
            out[i] = e
    ts = [threading.Thread(target=go, args=(i, f), daemon=True) for i, f in enumerate(fs)]
    [t.start() for t in ts]; end = time.time() + timeout
    for t in ts:
        t.join(max(end - time.time(), 0.01)); check(not t.is_alive(), "did not end in", timeout, "s")
    return out


def call(dev, name="x", payload=None, mod=None, response=30, connect=0):
    return rest("POST", "/twins/%s%s/methods" % (dev, "/modules/" + mod if mod else ""), {"methodName": name, "payload": payload, "responseTimeoutInSeconds": response, "connectTimeoutInSeconds": connect})


def asked(w, timeout=10):
    """the next method call: name, rid, payload"""
    topic, payload, *_ = w.message(timeout); m = re.match(r"^\$iothub/methods/POST/(.*)/\?\$rid=([^&=/]+)$", topic); check(m, topic)
    return m.group(1), m.group(2), json.loads(payload)


def bodies(m, did, n, timeout=30):
    return [x["body"].decode() for x in C.telemetry(m, lambda x: x["device"] == did, n, timeout)]


def in_order_once(got, n):
    want = [str(i) for i in range(n)]; check(sorted(set(want) - set(got)) == [], "lost", sorted(set(want) - set(got))); check(sorted(set(got), key=got.index) == want, "order", got); check(len(got) == n, "doubled", [g for g in got if got.count(g) > 1])


# ================================================================== connecting
@scenario()
def connect_and_leave_again_and_again():
    m = C.mark(); did, c = C.device("cal"); got = []; c.on_message_received = lambda x: got.append(x.data)
    for i in range(12):
        must(c.connect)
        if i % 3 == 0: must(lambda: c.send_message(str(i)))
        must(c.disconnect)
    C.c2d(did, "still"); must(c.connect); check(eventually(lambda: got == [b"still"], 10), got); check(bodies(m, did, 4) == ["0", "3", "6", "9"])

@scenario()
def connect_and_vanish():
    """sockets that close in every state; then the same id and another one work"""
    did, other = C.new_device("cav"), C.new_device("cavo"); o = wire(other)
    for i in range(40):
        w = Wire()
        if i % 4 == 1: w.s.sendall(b"\x10")
        if i % 4 == 2: w.connect(did, must_be=None)
        if i % 4 == 3: w.connect(did, clean=False, must_be=None); w.subscribe(METHODS, wait=False)
        w.cut()
    check(o.twin()[0] == 200); w = Wire(); w.connect(did, clean=False); w.subscribe(METHODS); r = together([lambda: call(did, response=10), lambda: w.publish("$iothub/methods/res/200/?$rid=" + asked(w)[1], b"1")]); check(r[0].status_code == 200, r)

@scenario("restart")
def connect_during_a_restart_is_never_refused_for_good():
    """trap 2: while the server is not ready a client is told 3, or nothing; never 1, 2, 4 or 5"""
    did = C.new_device("cdr"); wire(did).send(0xE0); seen, over = set(), threading.Event()
    def knock():
        while not over.is_set():
            try:
                w = Wire(); w.connect(did, must_be=None); p = w.read(5); seen.add(p[2][1] if p else None)
            except OSError:
                seen.add("no server")
            except TimeoutError:
                seen.add("silence")
            finally:
                try: w.cut()
                except Exception: pass
    ts = [threading.Thread(target=knock, daemon=True) for _ in range(2)]; [t.start() for t in ts]; restart(); time.sleep(0.5); over.set(); [t.join(12) for t in ts]; check(seen <= {0, 3, None, "no server"} and 0 in seen, seen)

@scenario()
def connect_names_in_other_forms():
    """the host's case, a user agent of any characters, a model id; what follows works"""
    m = C.mark(); did = C.new_device("cno")
    for name in ["?api-version=2021-04-12&DeviceClientType=" + q(ODD), "?DeviceClientType=" + "x" * 3000 + "&api-version=2020-09-30&model-id=" + q("dtmi:com:é;1"), "api-version=2021-04-12"]:
        w = Wire(); w.connect(did, username="%s/%s/%s" % (HUB.upper(), did, name)); w.publish("devices/%s/messages/events/" % did, b"0")
    w = Wire(); w.connect(did, password=C.sas(did, host=HUB.upper()), must_be=0); check(len(bodies(m, did, 3)) == 3)

@scenario()
def connect_two_modules_of_one_device():
    """and the device itself: three sessions that know nothing of each other"""
    did = C.new_device("ctm"); C.rm.create_module_with_sas(did, "a", "", KEY, KEY); C.rm.create_module_with_sas(did, "b", "", KEY, KEY); time.sleep(A.settle)
    cs = {m: C.client(did, m) for m in (None, "a", "b")}
    for m, c in cs.items():
        responder(c, lambda rq, m=m: (200, m or "device")); must(lambda: c.patch_twin_reported_properties({"me": m or "device"}))
    got = []; cs[None].on_message_received = lambda x: got.append(x.data)
    for m, c in cs.items():
        check(C.invoke(did, "who", 1, m, connect=5) == (200, m or "device")); check(must(c.get_twin)["reported"]["me"] == (m or "device")); check(eventually(lambda: C.twin(did, m).properties.reported.get("me") == (m or "device")))
    C.drop(cs["a"]); check(C.invoke(did, "who", 1, "b") == (200, "b")); C.connected(cs["a"]); check(cs["b"].connected and cs[None].connected); C.c2d(did, "device only"); check(eventually(lambda: got == [b"device only"]), got)
    C.rm.delete_module(did, "a"); check(eventually(lambda: not cs["a"].connected, 8), "a deleted module is still connected"); check(cs["b"].connected and cs[None].connected); check(C.invoke(did, "who", 1, "b") == (200, "b"))

@scenario()
def connect_after_the_device_was_deleted():
    did, c = C.device("cad"); responder(c, lambda rq: (200, 1)); must(lambda: c.patch_twin_reported_properties({"x": 1})); must(c.disconnect); C.rm.delete_device(did); time.sleep(A.settle + 0.5)
    k, e = within(c.connect, 20); check(k == "err" and isinstance(e, dex.CredentialError), k, repr(e)); status_of(lambda: C.invoke(did, "x", 1), 404); status_of(lambda: C.twin(did), 404)
    C.rm.create_device_with_sas(did, KEY, KEY, "enabled", device_scope=C.scope); time.sleep(A.settle + 0.5); c2 = C.client(did); must(c2.connect); check("x" not in must(c2.get_twin)["reported"]); status_of(lambda: C.invoke(did, "x", 1), 404); must(lambda: c2.send_message("anew"))

@scenario()
def connect_takes_over_in_the_middle_of_everything():
    """the new connection has a window of inputs un-acked, twin requests and a method of the old one behind it"""
    m = C.mark(); did = C.new_device("ctk"); t = "devices/%s/messages/events/" % did; f = "devices/%s/messages/devicebound/#" % did; w = wire(did, clean=False); w.subscribe(METHODS, DESIRED, f); [C.c2d(did, str(i)) for i in range(3)]; first = [w.message(ack=False) for _ in range(3)]
    ids = [w.publish(t, str(i), wait=False) for i in range(50)]; [w.publish("$iothub/twin/GET/?$rid=%d" % i, b" ", wait=False) for i in range(20)]
    v = Wire(); check(v.connect(did, clean=False) == 1); check(w.is_closed_within(5)); [v.publish(t, str(i), pid=ids[i], dup=True, wait=False) for i in range(50)]; again = []
    while len(again) < 3:
        p = v.message(15)
        if p[0].startswith("devices/"): again.append(p[1])
    check(again == [g[1] for g in first], again); check(v.twin(qos=0)[0] == 200); r = together([lambda: call(did, response=10), lambda: v.publish("$iothub/methods/res/200/?$rid=" + asked(v)[1], b"1", qos=0)]); check(r[0].status_code == 200, r); C.desired(did, {"a": 1}); check(json.loads(v.message()[1])["a"] == 1); in_order_once(bodies(m, did, 50), 50)


# ================================================================== telemetry
@scenario()
def telemetry_largest_of_the_sdk():
    """262,111 bytes and properties, one after the other and at once; one more byte is refused by the SDK itself"""
    m = C.mark(); did, c = C.device("tlg"); blob = os.urandom(262000)
    def msg(i):
        g = Message(blob); g.message_id = str(i); return g
    must(lambda: c.send_message(blob + b"x" * 111), 30); check(len(C.telemetry(m, lambda x: x["device"] == did)[0]["body"]) == 262111); m = C.mark()
    for i in range(2): must(lambda: c.send_message(msg(i)), 30)
    [check(not isinstance(r, BaseException), r) for r in together([lambda i=i: c.send_message(msg(i)) for i in range(2, 6)])]
    k, e = within(lambda: c.send_message(Message(blob + b"x" * 112)), 10); check(k == "err" and isinstance(e, ValueError), k, repr(e)); r = C.telemetry(m, lambda x: x["device"] == did, 6, 30); check(all(x["body"] == blob for x in r) and {x["sys"]["mid"] for x in r} == {str(i) for i in range(6)})

@scenario()
def telemetry_large_properties():
    """48 KiB of properties that are three times as long when escaped are refused or kept whole; never cut"""
    m = C.mark(); did = C.new_device("tlp"); w = wire(did); w.publish("devices/%s/messages/events/k=%s" % (did, "v" * 40000), b"1"); x = C.telemetry(m, lambda x: x["device"] == did)[0]; check(x["app"] == {"k": "v" * 40000})
    w.publish("devices/%s/messages/events/%s" % (did, "&".join("k%d=%d" % (i, i) for i in range(800))), b"2"); x = C.telemetry(m, lambda x: x["device"] == did, 2)[1]; check(x["app"] == {"k%d" % i: str(i) for i in range(800)})
    w.publish("devices/%s/messages/events/k=%s" % (did, "v" * 65000), b"3", wait=False); p = w.read(5); check(p is None or p[0] == w.PUBACK); w = wire(did); w.publish("devices/%s/messages/events/" % did, b"4"); r = C.telemetry(m, lambda x: x["device"] == did and x["body"] == b"4"); check(r)

@scenario()
def telemetry_unicode_everywhere():
    m = C.mark(); did, c = C.device("tun"); g = Message(json.dumps({"v": ODD}, ensure_ascii=False), content_encoding="utf-8", content_type="application/json"); g.message_id, g.correlation_id, g.user_id = "m-" + ODD, "c-" + ODD, "u-" + ODD; g.custom_properties[ODD] = ODD; g.custom_properties["日本語"] = "値"; must(lambda: c.send_message(g)); x = C.telemetry(m, lambda x: x["device"] == did)[0]
    check(x["app"] == {ODD: ODD, "日本語": "値"}, x["app"]); s = x["sys"]; check((s["mid"], s["cid"], s["uid"], s["ct"], s["ce"]) == ("m-" + ODD, "c-" + ODD, "u-" + ODD, "application/json", "utf-8"), s); check(json.loads(x["body"]) == {"v": ODD})

@scenario()
def telemetry_twenty_in_flight_under_cuts():
    """the SDK keeps 20 un-acked and sends them again with DUP after each cut: none lost, hardly one doubled"""
    for attempt in range(3):
        died, m = len(DIED), C.mark(); did, c = C.device("tif%d" % attempt); must(c.connect); ends, lock, n = [], threading.Lock(), [0]
        def send():
            while True:
                with lock:
                    if n[0] >= 150: return
                    i = n[0]; n[0] += 1
                for _ in range(5):
                    try:
                        c.send_message(str(i)); ends.append(i); break
                    except Exception:
                        time.sleep(0.2)
        ts = [threading.Thread(target=send, daemon=True) for _ in range(20)]; [t.start() for t in ts]
        for _ in range(3):
            time.sleep(0.12)
            try: C.drop(c)
            except AssertionError: pass
        end = time.time() + 20; [t.join(max(end - time.time(), 0)) for t in ts]
        if any(t.is_alive() for t in ts) and is_lost(c, died): continue
        check(sorted(set(ends)) == list(range(150)), "not acknowledged", set(range(150)) - set(ends)); got = bodies(m, did, 150); check(set(got) == {str(i) for i in range(150)}, "lost"); check(len(got) <= 150 + 5, "doubled", len(got)); return
    raise Skip("the SDK did not connect again, three times")

@scenario("restart")
def telemetry_in_order_over_a_restart():
    """a raw client: 200 pipelined, the server restarts among them, what was not acknowledged is sent again with DUP"""
    m = C.mark(); did = C.new_device("tor"); t = "devices/%s/messages/events/" % did; w = wire(did, clean=False); done = threading.Event()
    threading.Timer(0.2, lambda: (restart(), done.set())).start(); left = list(range(200)); sent = {}; end = time.time() + 60
    while left:
        check(time.time() < end, "not acknowledged", len(left))
        try:
            for i in left[:40]: w.publish(t, str(i), pid=i + 1, dup=i in sent, wait=False); sent[i] = 1; time.sleep(0.004)
            for _ in left[:40]: a = struct.unpack(">H", w.wait(w.PUBACK, 10)[2])[0] - 1; check(a == left.pop(0), "PUBACK out of order", a)
        except (OSError, AssertionError, TimeoutError) as e:
            check("order" not in str(e), e); w.cut()
            while True:
                try: w = Wire(); w.connect(did, clean=False, must_be=(0, 3)); w.send(0xC0); w.wait(w.PINGRESP, 3); break
                except (OSError, AssertionError, TimeoutError): time.sleep(0.1); check(time.time() < end, "no connection")
    done.wait(30); in_order_once(bodies(m, did, 200), 200)

@scenario()
def telemetry_second_copies_are_known():
    """sent again with DUP, id and bytes the same, on the next connection: stored once; anything else is another message"""
    m = C.mark(); did = C.new_device("tsc"); t = "devices/%s/messages/events/" % did; w = wire(did, clean=False)
    for i in range(10): w.publish(t, str(i))
    w.cut(); w = wire(did, clean=False); [w.publish(t, str(i), pid=i + 1, dup=True) for i in range(10)]; w.publish(t, "5", pid=11, dup=True); w.publish(t, "other", pid=3, dup=True); w.cut(); w = wire(did); w.publish(t, "1", pid=2)
    got = bodies(m, did, 13); check(got == [str(i) for i in range(10)] + ["5", "other", "1"], got)

@scenario()
def telemetry_of_fast_and_slow_clients():
    """one that sends byte by byte, and one that never reads, hold up nobody"""
    m = C.mark(); slow, deaf, did = C.new_device("tsl"), C.new_device("tde"), C.new_device("tfa"); d = wire(deaf); ws = wire(slow); w = wire(did); t = Wire.text("devices/%s/messages/events/" % slow); p = bytes([0x30, len(t) + 1]) + t + b"s"; over = threading.Event()
    def flood():
        try:
            while not over.is_set(): d.s.sendall(b"\xc0\0" * 2000)
        except OSError: pass
    threading.Thread(target=flood, daemon=True).start(); worst = 0
    for b in p:
        ws.s.sendall(bytes([b])); s = time.time(); w.publish("devices/%s/messages/events/" % did, b"f"); worst = max(worst, time.time() - s)
    over.set(); check(worst < 3, "waited", worst); C.telemetry(m, lambda x: x["device"] == slow)


# ================================================================== twins
@scenario()
def twin_storm():
    """five clients, each with reads and patches at once; each ends with what it wrote last"""
    cs = [C.device("tst%d" % i) for i in range(5)]; [must(c.connect) for _, c in cs]
    def work(c, me):
        for i in range(8):
            c.patch_twin_reported_properties({"i": i, "me": me, ODD.replace("#", "").replace("$", "").replace(" ", "").replace(".", ""): ODD}); t = c.get_twin()["reported"]; check(t["i"] == i and t["me"] == me, t)
        return "done"
    check(together([lambda c=c, did=did: work(c, did) for did, c in cs]) == ["done"] * 5)
    for did, _ in cs: check(eventually(lambda: C.twin(did).properties.reported.get("i") == 7, 15), did)

@scenario()
def twin_patches_in_one_flight():
    """60 patches without waiting: each answered, in the state the last one counts"""
    did = C.new_device("tof"); w = wire(did)
    for i in range(60): w.publish("$iothub/twin/PATCH/properties/reported/?$rid=%d" % i, json.dumps({"n": i, "k%d" % (i % 7): i}), qos=i % 2, wait=False)
    seen = {}
    while len(seen) < 60:
        m = re.match(r"\$iothub/twin/res/(\d+)/\?\$rid=(\d+)(?:&\$version=(\d+))?$", w.parse(w.wait(w.PUBLISH, 20))[0]); check(m, "form"); seen[int(m.group(2))] = int(m.group(1))
    check(set(seen.values()) <= {200, 204}, seen); r = w.twin(qos=0)[2]["reported"]; check(r["n"] == 59 and r["k3"] == 59, r); check(eventually(lambda: C.twin(did).properties.reported.get("n") == 59, 15))

@scenario()
def twin_desired_under_cuts():
    """30 changes while the connection is cut again and again: what the client hears, merged over what it read, is the twin"""
    did, c = C.device("tuc"); state, lock = {}, threading.Lock()
    def take(p):
        with lock: [state.pop(k, None) if v is None else state.__setitem__(k, v) for k, v in p.items()]
    c.on_twin_desired_properties_patch_received = take; time.sleep(0.3)
    for i in range(30):
        C.desired(did, {"i": i, "k%d" % (i % 5): i if i % 3 else None})
        if i % 8 == 4:
            try: C.drop(c)
            except AssertionError: pass
    C.connected(c); want = {k: v for k, v in C.twin(did).properties.desired.items() if k != "$metadata"}
    check(eventually(lambda: state == want, 15), state, want); check({k: v for k, v in must(c.get_twin)["desired"].items()} == want)

@scenario()
def twin_large_documents():
    """desired and reported near 32 KiB, deep and wide, whole on the wire and at the service"""
    did = C.new_device("tld"); w = wire(did); w.subscribe(DESIRED); big = {"k%02d" % i: {"v": "ü" * 450, "n": [1, {"x": [True, False, 1.5]}]} for i in range(28)}; C.desired(did, big); got = json.loads(w.message()[1]); got.pop("$version"); check(got == big); t = w.twin()[2]["desired"]; t.pop("$version"); check(t == big); check(w.report(json.dumps(big, ensure_ascii=False).encode())[0] in (200, 204)); r = w.twin()[2]["reported"]; r.pop("$version"); check(r == big); check(eventually(lambda: {k: v for k, v in C.twin(did).properties.reported.items() if k[0] != "$"} == big, 15))

@scenario("restart")
def twin_desired_changed_while_the_server_restarts():
    did, c = C.device("tdc"); got = []; c.on_twin_desired_properties_patch_received = got.append; time.sleep(0.3); C.desired(did, {"before": 1}); check(eventually(lambda: [g for g in got if g.get("before") == 1])); must(lambda: c.patch_twin_reported_properties({"r": 1}))
    if A.gateway == HUB: restart()
    else: t = threading.Thread(target=restart, daemon=True); t.start(); time.sleep(0.2); C.desired(did, {"meanwhile": 1}); t.join(30)
    if A.gateway == HUB: eventually(lambda: C.desired(did, {"meanwhile": 1}), 20)
    C.connected(c, 60); check(eventually(lambda: [g for g in got if g.get("meanwhile") == 1], 20), got); C.desired(did, {"after": 1}); check(eventually(lambda: [g for g in got if g.get("after") == 1], 15), got); t = must(c.get_twin, 30); check(t["reported"].get("r") == 1 and t["desired"]["meanwhile"] == 1, t)

@scenario()
def twin_rids_of_every_form():
    did = C.new_device("tri"); w = wire(did)
    for rid in ["1", "65535", "a b", "ü", "x" * 500, "a/b"[:1], "%2F", "{" + str(uuid.uuid4()) + "}", "-", "$", "?"]:
        for form in ["$iothub/twin/GET/?$rid=%s", "$iothub/twin/GET/?$rid=%s/", "$iothub/twin/GET/?%%24rid=%s"]:
            w.publish(form % rid, b"", qos=0); topic, *_ = w.parse(w.wait(w.PUBLISH)); check(topic == "$iothub/twin/res/200/?$rid=" + rid, form, repr(rid), topic)
    w.publish("$iothub/twin/PATCH/properties/reported/?$version=3&$rid=z", b'{"a":1}', qos=0); check(w.answer("z")[0] in (200, 204, 400, 412)); w.publish("$iothub/twin/PATCH/properties/reported/", b'{"a":2}', wait=False); p = w.read(5); check(p is None or p[0] == w.PUBACK, p)


# ================================================================== methods
@scenario()
def method_hundred_at_once():
    did, c = C.device("mhu"); responder(c, lambda rq: (200, rq.payload)); must(c.connect); time.sleep(0.3); out = together([lambda i=i: call(did, "m%d" % i, {"i": i, "s": ODD}, connect=5).json() for i in range(100)]); check(out == [{"status": 200, "payload": {"i": i, "s": ODD}} for i in range(100)], [o for i, o in enumerate(out) if o != {"status": 200, "payload": {"i": i, "s": ODD}}][:3])

@scenario()
def method_names_of_every_form():
    did = C.new_device("mna"); w = wire(did); w.subscribe(METHODS); d2, c = C.device("mnas"); responder(c, lambda rq: (200, rq.name)); time.sleep(0.5)
    for name in ["a b", "ünï-日本語", "x" * 100, "a.b_c:d", "$weird(name)!", "😀", "a=b&c", "100%", "$rid"]:
        box = []; t = threading.Thread(target=lambda: box.append(call(did, name, 1, response=10)), daemon=True); t.start(); got, rid, _ = asked(w); w.publish("$iothub/methods/res/200/?$rid=" + rid, json.dumps(got)); t.join(12); check(got == name or urllib.parse.unquote(got) == name, name, got); check(box[0].status_code == 200, box[0].text)
        check(C.invoke(d2, name, 1) == (200, name), "the SDK sees", name)
    for name in ["a/b", "a+b", "a#b", "a?b", "%41", "/", "a/?$rid=1"]:
        check(C.invoke(d2, name, 1, timeout=5) == (200, name), "the SDK sees", name)
    check(call(did, "x" * 101).status_code == 400 and call(did, "").status_code == 400)

@scenario()
def method_time_outs_are_checked():
    did = C.new_device("mtc"); p = "/twins/%s/methods" % did
    for field, bad in [("responseTimeoutInSeconds", v) for v in (4, 301, -5, 0, 5.5, "x", "4", [], True)] + [("connectTimeoutInSeconds", v) for v in (-1, 301, "301", "x", {}, 0.5)]:
        r = rest("POST", p, {"methodName": "x", "payload": None, field: bad}); check(r.status_code == 400, field, bad, r.status_code); is_error_body(r)
    for good in (5, "5", 300, "300", None): check(rest("POST", p, {"methodName": "x", "payload": None, "responseTimeoutInSeconds": good, "connectTimeoutInSeconds": "0"}).status_code == 404)
    r = rest("POST", p, {"methodName": "x", "payload": "x" * (129 * 1024)}); check(r.status_code in (400, 413)); is_error_body(r)

@scenario()
def method_error_bodies_nest_the_code():
    did = C.new_device("meb"); r = call(did); check(r.status_code == 404 and json.loads(is_error_body(r)["Message"])["errorCode"] == 404103, r.text); r = call(did + "-none"); check(r.status_code == 404, r.text); is_error_body(r); w = wire(did); w.subscribe(METHODS); r = call(did, response=5); check(r.status_code == 504 and json.loads(is_error_body(r)["Message"])["errorCode"] == 504101, r.text); check(r.headers["Content-Type"].startswith("application/json"))

@scenario()
def method_of_a_client_that_leaves():
    """its time-out is 100 s; the caller hears of it in 10: whether it said good-bye, was cut, or was a module"""
    did = C.new_device("mle"); C.rm.create_module_with_sas(did, "m", "", KEY, KEY); time.sleep(A.settle)
    def one(how, mod=None, clean=False):
        w = wire(did, mod, clean=clean); w.subscribe(METHODS); t = time.time(); r = together([lambda: call(did, "x", 1, mod, response=100), lambda: (asked(w), how(w))], 20)[0]; check(getattr(r, "status_code", r) in (404, 504) and time.time() - t < 10, r, time.time() - t); is_error_body(r)
    one(lambda w: w.send(0xE0)); one(lambda w: w.cut(), clean=True); one(lambda w: w.cut(), "m")

@scenario()
def method_answered_on_the_next_connection():
    """SDKs connect anew for each token; who comes back at once may still answer, once"""
    did = C.new_device("man"); w = wire(did, clean=False); w.subscribe(METHODS); box = []; t = threading.Thread(target=lambda: box.append(call(did, "x", 1, response=20)), daemon=True); t.start(); _, rid, _ = asked(w); w.send(0xE0); w.cut(); v = Wire(); check(v.connect(did, clean=False) == 1); check(not v.quiet(0.5), "the call came twice"); v.publish("$iothub/methods/res/201/?$rid=" + rid, b'"late"', qos=0); t.join(10); check(box and box[0].status_code == 200 and box[0].json() == {"status": 201, "payload": "late"}, box and box[0].text); v.publish("$iothub/methods/res/500/?$rid=" + rid, b"2"); check(v.twin()[0] == 200)

@scenario()
def method_answers_of_every_form():
    did = C.new_device("maf"); other = C.new_device("mafo"); w = wire(did); o = wire(other); w.subscribe(METHODS); big = json.dumps("x" * (125 * 1024))
    for status, body, want in [("200", b"", None), ("0", b"null", None), ("-1", b"[]", []), ("2147483647", b'{"a":{"b":[1]}}', {"a": {"b": [1]}}), ("200", big.encode(), json.loads(big)), ("200", '"ü€😀"'.encode(), "ü€😀"), ("404", b"1.5e3", 1500.0)]:
        box = []; t = threading.Thread(target=lambda: box.append(call(did, "x", None, response=10)), daemon=True); t.start(); _, rid, p = asked(w); check(p is None); o.publish("$iothub/methods/res/200/?$rid=" + rid, b'"of another"'); w.publish("$iothub/methods/res/%s/?$rid=%s" % (status, rid), body); t.join(12); check(box[0].status_code == 200 and box[0].json() == {"status": int(status), "payload": want}, status, box[0].text[:200])
    box = []; t = threading.Thread(target=lambda: box.append(call(did, "x", None, response=10)), daemon=True); t.start(); _, rid, _ = asked(w); w.publish("$iothub/methods/res/200/?$rid=" + rid, b"no JSON"); t.join(12); check(box[0].status_code == 200 and box[0].json()["status"] == 200, box[0].text)

@scenario()
def method_under_renewals():
    """a token every 3 s: calls meanwhile end in their answers"""
    did, c = C.device("mur", sastoken_ttl=123); seen = []; responder(c, lambda rq: (seen.append(rq.payload), (200, rq.payload))[1]); must(c.connect); end, i, ok = time.time() + 7, 0, 0
    while time.time() < end:
        r = call(did, "x", i, response=10, connect=10); ok += r.status_code == 200; check(r.status_code in (200, 404, 504), r.text); i += 1; time.sleep(0.02)
    check(len(seen) == len(set(seen)), "ran twice"); check(ok >= i - 3, ok, "of", i)

@scenario("restart")
def method_over_a_restart():
    """a call that the server forgets; the late answer to it must not be the answer to another call"""
    did, c = C.device("mor"); held = []; c.on_method_request_received = held.append; time.sleep(0.5); t = threading.Thread(target=lambda: within(lambda: call(did, "old", 1, response=60), 60), daemon=True); t.start(); check(eventually(lambda: held)); restart(); C.connected(c, 60); box = []
    t2 = threading.Thread(target=lambda: box.append(call(did, "new", 2, response=20, connect=15)), daemon=True); t2.start(); check(eventually(lambda: len(held) > 1, 20), "the new call did not come"); answer = lambda rq, p: must(lambda: c.send_method_response(MethodResponse.create_from_method_request(rq, 200, p))); answer(held[0], "of the old one"); time.sleep(0.3); answer(held[1], "of the new one"); t2.join(25); check(box[0].json() == {"status": 200, "payload": "of the new one"}, box[0].text)

@scenario()
def method_to_many_clients_at_once():
    cs = [C.device("mmc%d" % i) for i in range(6)]; mods = [(C.edge, C.new_module("mmc%d" % i)) for i in range(2)]; all_ = [(d, None, c) for d, c in cs] + [(d, m, C.client(d, m)) for d, m in mods]
    for d, m, c in all_: responder(c, lambda rq, me=(m or d): (200, [me, rq.payload]))
    time.sleep(0.5); calls = [(d, m, i) for i in range(4) for d, m, _ in all_]; out = together([lambda a=a: call(a[0], "x", a[2], a[1], connect=5).json().get("payload") for a in calls]); check(out == [[m or d, i] for d, m, i in calls], out)


# ================================================================== cloud to device
@scenario("c2d")
def c2d_several_while_away():
    """in order, without what has expired, each once, with all its properties"""
    did, c = C.device("caw"); got = []; c.on_message_received = got.append; time.sleep(0.3); must(c.disconnect)
    for i in range(8): C.c2d(did, str(i), {"i": str(i), "odd": "ü %&=+/"}, messageId="m%d" % i, **({"expiry": iso(0.5)} if i in (2, 5) else {"expiry": iso(600)} if i == 6 else {}))
    time.sleep(1); must(c.connect); check(eventually(lambda: len(got) >= 6, 15), len(got)); time.sleep(0.5); check([g.data for g in got] == [b"0", b"1", b"3", b"4", b"6", b"7"], [g.data for g in got]); check(all(g.custom_properties["i"] == g.data.decode() and g.custom_properties["odd"] == "ü %&=+/" and g.message_id == "m" + g.data.decode() for g in got), [vars(g) for g in got][:2]); check(eventually(lambda: C.rm.get_device(did).cloud_to_device_message_count == 0, 10))

@scenario("c2d")
def c2d_times_as_dotnet_reads_them():
    """the .NET client takes an expiry only as yyyy-MM-ddTHH:mm:ss.fffffffZ, and closes on any other"""
    did = C.new_device("ctd"); w = wire(did); w.subscribe("devices/%s/messages/devicebound/#" % did)
    for e in [iso(600), "2031-05-06T07:08:09Z", "2031-05-06T07:08:09.5+02:00", "1935730000000"]:
        C.c2d(did, "x", expiry=e); topic = w.message()[0]; exp = dict(p.partition("=")[::2] for p in urllib.parse.unquote(topic.split("/devicebound/")[1]).split("&")).get("$.exp"); check(re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$", exp or ""), e, "became", exp)

@scenario("c2d", )
def c2d_bodies():
    did, c = C.device("cbo"); got = []; c.on_message_received = lambda x: got.append(x.data); time.sleep(0.3); want = [os.urandom(60 * 1024), b"", bytes(range(256)), "ü€😀".encode()]
    for b in want: check(rest("POST", "/devices/%s/messages/devicebound" % did, b, {"Content-Type": "application/octet-stream"}).status_code == 204)
    check(eventually(lambda: len(got) == 4, 15), [len(g) for g in got]); check(got == want, [len(g) for g in got])

@scenario("c2d", )
def c2d_over_a_restart():
    if not A.restart_cmd: raise Skip("needs restart")
    did, c = C.device("cor"); got = []; c.on_message_received = lambda x: got.append(x.data.decode()); time.sleep(0.3); C.c2d(did, "0"); check(eventually(lambda: got)); must(c.disconnect); [C.c2d(did, str(i)) for i in (1, 2, 3)]; restart(); must(c.connect, 60); check(eventually(lambda: len(got) >= 4, 20), got); time.sleep(0.5); check(got == ["0", "1", "2", "3"], got)

@scenario("c2d")
def c2d_to_one_that_never_acknowledges():
    """ten at a time are out; the others wait; another device is not held up"""
    did, other = C.new_device("cna"), C.new_device("cnao"); w, o = wire(did), wire(other); w.subscribe("devices/%s/messages/devicebound/#" % did); o.subscribe("devices/%s/messages/devicebound/#" % other); [C.c2d(did, str(i)) for i in range(15)]; C.c2d(other, "o"); check(o.message()[1] == b"o"); got = []
    while True:
        try: got.append(w.message(1.5, ack=False))
        except TimeoutError: break
    check(len(got) >= 10 and [g[1] for g in got] == [b"%d" % i for i in range(len(got))] and len({g[2] for g in got}) == len(got), got); [w.ack(g[2]) for g in got]; rest_ = [w.message()[1] for _ in range(15 - len(got))]; check(rest_ == [b"%d" % i for i in range(len(got), 15)], rest_)


# ================================================================== WebSockets, by the byte
class Web:
    """a WebSocket to the server's HTTPS port, whose frames the test makes"""
    def __init__(self, path="/$iothub/websocket", protocol="mqtt", extra="", version=13, cert=None):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); ctx.load_verify_locations(A.ca)
        if cert: ctx.load_cert_chain(*cert)
        self.s = ctx.wrap_socket(socket.create_connection((A.gateway, A.https_port), 10), server_hostname=A.gateway); self.s.settimeout(10); C.live.append(self)
        self.s.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %d\r\n%s%s\r\n" % (path, A.gateway, base64.b64encode(os.urandom(16)).decode(), version, "Sec-WebSocket-Protocol: %s\r\n" % protocol if protocol else "", extra)).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            d = self.s.recv(1); check(d, "closed before the answer"); head += d
        self.head = head.decode().lower(); self.status = int(self.head.split()[1]); self.buf = b""; self.mqtt = b""

    def shutdown(self):
        try: self.s.close()
        except OSError: pass

    def frame(self, data, op=2, fin=True, masked=True, size=None, rsv=0):
        n = len(data) if size is None else size; head = bytes([(0x80 if fin else 0) | rsv | op]); m = 0x80 if masked else 0
        head += bytes([m | n]) if n < 126 else bytes([m | 126]) + struct.pack(">H", n) if n < 65536 else bytes([m | 127]) + struct.pack(">Q", n)
        key = os.urandom(4) if masked else b""; self.s.sendall(head + key + (bytes(b ^ key[i % 4] for i, b in enumerate(data)) if masked else data))

    def take(self):
        """(op, data) of the next frame; None when it closed"""
        def need(n):
            while len(self.buf) < n:
                try: d = self.s.recv(65536)
                except socket.timeout: raise TimeoutError("no frame")
                except OSError: return False
                if not d: return False
                self.buf += d
            return True
        if not need(2): return None
        op, n, at = self.buf[0] & 15, self.buf[1] & 127, 2; check(not self.buf[1] & 128, "a server masks nothing"); check(not self.buf[0] & 0x70, "an extension that was not agreed")
        if n == 126:
            if not need(4): return None
            n, at = struct.unpack(">H", self.buf[2:4])[0], 4
        elif n == 127:
            if not need(10): return None
            n, at = struct.unpack(">Q", self.buf[2:10])[0], 10
        if not need(at + n): return None
        data, self.buf = self.buf[at:at + n], self.buf[at + n:]; return op, data

    def packet(self):
        """the next MQTT packet: (type, body); None when it closed"""
        while True:
            if len(self.mqtt) >= 2:
                n, shift, i = 0, 0, 1
                while i < len(self.mqtt):
                    d = self.mqtt[i]; n |= (d & 127) << shift; shift += 7; i += 1
                    if not d & 128:
                        if len(self.mqtt) >= i + n: p = (self.mqtt[0] >> 4, self.mqtt[i:i + n]); self.mqtt = self.mqtt[i + n:]; return p
                        break
            f = self.take()
            if f is None or f[0] == 8: return None
            if f[0] in (0, 2): self.mqtt += f[1]

    def is_closed(self):
        end = time.time() + 5
        try:
            while time.time() < end:
                f = self.take()
                if f is None or f[0] == 8: return True
        except TimeoutError: pass
        return False


def mqtt(first, body=b""):
    n, size = len(body), b""
    while True:
        n, d = divmod(n, 128); size += bytes([d | (128 if n else 0)])
        if not n: return bytes([first]) + size + body


def connect_packet(did, password=None, clean=True):
    password = C.sas(did) if password is None else password
    return mqtt(0x10, Wire.text("MQTT") + bytes([4, 0x80 | (0x40 if password else 0) | (2 if clean else 0)]) + struct.pack(">H", 60) + Wire.text(did) + Wire.text("%s/%s/?api-version=2021-04-12" % (HUB, did)) + (Wire.text(password) if password else b""))

@scenario()
def websocket_frames_of_every_form():
    m = C.mark(); did = C.new_device("wsf"); t = Wire.text("devices/%s/messages/events/" % did); pub = lambda i, n=1: mqtt(0x32, t + struct.pack(">H", i) + b"%d" % i * n)
    w = Web(); check(w.status == 101 and "sec-websocket-protocol: mqtt" in w.head and "extensions" not in w.head, w.head); c = connect_packet(did); w.frame(c[:1], fin=False); w.frame(c[1:9], op=0, fin=False); w.frame(b"", op=9); w.frame(c[9:], op=0); ops = []
    while not ops or ops[-1][0] != 2: ops.append(w.take()); check(ops[-1], "closed")
    check(ops[-1][1] == b"\x20\x02\0\0", ops); check(any(o[0] == 10 for o in ops), "a ping has no pong", ops)
    w.frame(pub(1) + pub(2) + pub(3)[:5]); w.frame(pub(3)[5:] + pub(4)); w.frame(b"", op=2); [w.frame(bytes([b])) for b in pub(5)]; w.frame(mqtt(0x32, t + struct.pack(">H", 6) + b"6" * 262144)); w.frame(b"ping", op=9); w.frame(b"", op=10); acks = []
    while len(acks) < 6: p = w.packet(); check(p, "closed"); acks += [struct.unpack(">H", p[1])[0]] if p[0] == 4 else []
    check(acks == [1, 2, 3, 4, 5, 6], acks); got = [x["body"] for x in C.telemetry(m, lambda x: x["device"] == did, 6)]; check(got == [b"1", b"2", b"3", b"4", b"5", b"6" * 262144], [g[:9] for g in got]); w.frame(struct.pack(">H", 1000), op=8); check(w.is_closed(), "a close frame has no answer and no end")

@scenario()
def websocket_openings_of_every_form():
    did = C.new_device("wso")
    for path in ["/$iothub/websocket", "/%24iothub/websocket", "/$iothub/websocket?iothub-no-client-cert=true", "/", "/mqtt"]:
        w = Web(path); check(w.status == 101, path, w.head); w.frame(connect_packet(did)); check(w.packet() == (2, b"\0\0"), path)
    for protocol, extra in [("mqtt", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nOrigin: https://h\r\n"), ("AMQPWSB10, mqtt", ""), ("mqttv3.1, mqtt", ""), ("MQTT", "")]:
        w = Web(protocol=protocol, extra=extra); check(w.status == 101 and "extensions" not in w.head and "protocol: mqtt\r\n" in w.head, protocol, w.head)
    for kw in [dict(protocol=None), dict(protocol="AMQPWSB10"), dict(version=8)]:
        w = Web(**kw); check(w.status in (400, 426), kw, w.head)
    w = Web(); w.frame(connect_packet(did, password="no")); p = w.packet(); check(p and p[0] == 2 and p[1][1] in REFUSED, p); check(w.is_closed())
    w = Web(); w.frame(b"GET / HTTP/1.1\r\n\r\n"); check(w.is_closed(), "what is no MQTT does not close")

@scenario()
def websocket_frames_that_are_none():
    """each ends that connection, and no other"""
    did, calm = C.new_device("wsn"), C.new_device("wsc"); k = Web(); k.frame(connect_packet(calm)); check(k.packet() == (2, b"\0\0"))
    for what, do in {"text": lambda w: w.frame(b"hello", op=1), "not masked": lambda w: w.frame(b"\xc0\0", masked=False), "reserved bit": lambda w: w.frame(b"\xc0\0", rsv=0x40), "reserved code": lambda w: w.frame(b"x", op=5), "long ping": lambda w: w.frame(b"x" * 126, op=9), "split ping": lambda w: w.frame(b"x", op=9, fin=False), "going on with nothing": lambda w: w.frame(b"x", op=0), "giant": lambda w: w.frame(b"x", size=1 << 40), "giant packet": lambda w: w.frame(b"\x32\xff\xff\xff\x7f" + b"x" * 500)}.items():
        w = Web(); w.frame(connect_packet(did)); check(w.packet() == (2, b"\0\0"), what)
        try: do(w)
        except OSError: pass
        check(w.is_closed(), what, "did not close")
    k.frame(b"\xc0\0"); check(k.packet() == (13, b""))

@scenario("c2d")
def websocket_sdk_under_cuts_and_renewals():
    m = C.mark(); did, c = C.device("wsr", websockets=True, sastoken_ttl=123); got = []; c.on_message_received = lambda x: got.append(x.data.decode()); responder(c, lambda rq: (200, rq.payload)); patches = []; c.on_twin_desired_properties_patch_received = patches.append; must(c.connect); n, end = 0, time.time() + 5
    while time.time() < end:
        try: must(lambda: c.send_message(str(n)), 20); n += 1
        except dex.NoConnectionError: time.sleep(0.2)          # the SDK's own word for a socket that is gone
        if n in (20, 60):
            try: drop_websocket(c); time.sleep(0.02)
            except Exception: pass
    C.connected(c); C.c2d(did, "c"); C.desired(did, {"d": 1}); check(eventually(lambda: got == ["c"], 10), got); check(eventually(lambda: [p for p in patches if p.get("d") == 1], 10), patches); check(C.invoke(did, "x", 1, connect=10) == (200, 1)); g = bodies(m, did, n); check(set(g) == {str(i) for i in range(n)} and sorted(set(g), key=g.index) == [str(i) for i in range(n)])

@scenario("restart")
def websocket_sdk_over_a_restart():
    mid = C.new_module("wsm"); c = C.client(C.edge, mid, websockets=True); responder(c, lambda rq: (200, rq.payload)); must(lambda: c.patch_twin_reported_properties({"w": 1})); check(C.invoke(C.edge, "x", 1, mid, connect=5) == (200, 1)); restart(); C.connected(c, 60); check(eventually(lambda: C.invoke(C.edge, "x", 2, mid, connect=5) == (200, 2), 20)); check(must(c.get_twin, 30)["reported"].get("w") == 1); big = os.urandom(262000); must(lambda: c.send_message(big), 30)

@scenario()
def websocket_and_socket_take_over():
    """one id over both doors: the later one has it, with the session"""
    did = C.new_device("wst"); w = wire(did, clean=False); w.subscribe(METHODS); v = Web(); v.frame(connect_packet(did, clean=False)); check(v.packet() == (2, b"\1\0"), "session present"); check(w.is_closed_within(5)); box = []; t = threading.Thread(target=lambda: box.append(call(did, "x", 1, response=10)), daemon=True); t.start(); p = v.packet(); rid = re.search(rb"\$rid=(\d+)", p[1][:2 + struct.unpack(">H", p[1][:2])[0]]).group(1).decode(); v.frame(mqtt(0x30, Wire.text("$iothub/methods/res/200/?$rid=" + rid) + b"5")); t.join(12); check(box[0].json() == {"status": 200, "payload": 5}, box[0].text)


# ================================================================== X.509 with everything
def x509_cs(did, cert, mod=None, **kw):
    cls = IoTHubModuleClient if mod else IoTHubDeviceClient; kw.update({"module_id": mod} if mod else {}); kw.update({"gateway_hostname": A.gateway} if A.gateway != HUB else {})
    return C.track(cls.create_from_x509_certificate(X509(*cert), HUB, did, server_verification_cert=CA, connection_retry_interval=1, **kw))

@scenario("c2d")
def x509_with_everything():
    m = C.mark(); cert, sha, _ = certificate("every"); did = x509_device("xev", sha, sha)
    for ws in (False, True):
        c = x509_cs(did, cert, websockets=ws); got, patches = [], []; c.on_message_received = lambda x: got.append(x.data.decode()); responder(c, lambda rq: (200, rq.payload)); c.on_twin_desired_properties_patch_received = patches.append; time.sleep(0.5); C.desired(did, {"ws": ws}); check(eventually(lambda: [p for p in patches if p.get("ws") is ws], 10), patches); must(lambda: c.patch_twin_reported_properties({"ws": ws})); must(lambda: c.send_message("t%d" % ws)); C.c2d(did, "c%d" % ws); check(eventually(lambda: got == ["c%d" % ws], 10), got); check(C.invoke(did, "x", [ws], connect=5) == (200, [ws])); (drop_websocket if ws else C.drop)(c); time.sleep(0.3); C.connected(c); check(C.invoke(did, "x", 1, connect=10) == (200, 1)); check(must(c.get_twin)["reported"]["ws"] is ws); must(c.shutdown)
    check(bodies(m, did, 2) == ["t0", "t1"]); w = Web(); w.frame(connect_packet(did, password="")); p = w.packet(); check(p and p[1][1] in REFUSED, "no certificate", p)

@scenario()
def x509_module():
    cert, sha, _ = certificate("mod"); did = C.new_device("xmo"); C.rm.create_module_with_x509(did, "m", "", sha, sha); time.sleep(A.settle); c = x509_cs(did, cert, "m"); must(c.connect); responder(c, lambda rq: (200, "x")); check(C.invoke(did, "x", 1, "m", connect=5) == (200, "x")); check("$version" in must(c.get_twin)["desired"]); other = certificate("one")[0]; k, e = within(x509_cs(did, other, "m").connect, 20); check(k == "err" and isinstance(e, dex.CredentialError), k, repr(e))

@scenario("restart")
def x509_over_a_restart():
    cert, sha, _ = certificate("every"); did = x509_device("xre", sha, sha); c = x509_cs(did, cert); responder(c, lambda rq: (200, 1)); check(C.invoke(did, "x", 1, connect=5) == (200, 1)); restart(); C.connected(c, 60); check(eventually(lambda: C.invoke(did, "x", 1, connect=5) == (200, 1), 20)); must(lambda: c.send_message("after"), 30)


# ================================================================== modules through a gateway
def route_of(a, out, b, inp):
    return 'FROM /messages/modules/%s/outputs/%s INTO BrokeredEndpoint("/modules/%s/inputs/%s")' % (a, out, b, inp)

@scenario()
def input_chain_with_properties():
    """sensor → filter → hub, two inputs, properties of every form kept on the way"""
    m = C.mark(); a, b = C.new_module("ich-a"), C.new_module("ich-b"); C.routes(one=route_of(a, "o1", b, "i1"), two=route_of(a, "o2", b, "i2"), up="FROM /messages/modules/%s/outputs/up INTO $upstream" % b); ca, cb = C.client(C.edge, a), C.client(C.edge, b)
    def relay(x):
        g = Message(x.data, content_type=x.content_type, content_encoding=x.content_encoding); g.message_id, g.correlation_id = x.message_id, x.correlation_id; g.custom_properties.update({k: v for k, v in x.custom_properties.items() if not k.startswith("$.")}); g.custom_properties["via"] = x.input_name; threading.Thread(target=lambda: cb.send_message_to_output(g, "up"), daemon=True).start()
    cb.on_message_received = relay; time.sleep(0.3)
    for i in range(10):
        g = Message(json.dumps({"i": i}), content_type="application/json", content_encoding="utf-8"); g.message_id, g.correlation_id = "m%d" % i, ODD; g.custom_properties.update({ODD: ODD, "i": str(i)}); must(lambda: ca.send_message_to_output(g, "o%d" % (1 + i % 2)))
    r = C.telemetry(m, lambda x: x["module"] == b, 10, 20); check({x["sys"]["mid"] for x in r} == {"m%d" % i for i in range(10)}); check(all(x["app"] == {ODD: ODD, "i": x["sys"]["mid"][1:], "via": "i%d" % (1 + int(x["sys"]["mid"][1:]) % 2)} and x["sys"]["cid"] == ODD and x["sys"]["ct"] == "application/json" for x in r), r[0])

@scenario()
def input_under_renewals_and_cuts():
    """both modules with tokens that renew every 3 s, and cut now and then: none lost, none out of order"""
    a, b = pair("iur"); ca, cb = C.client(C.edge, a, sastoken_ttl=123), C.client(C.edge, b, sastoken_ttl=124); got = []; cb.on_message_received = lambda x: got.append(int(x.data)); must(ca.connect); time.sleep(0.3); n, end = 0, time.time() + 7
    while time.time() < end:
        must(lambda: ca.send_message_to_output(str(n), "out1"), 20); n += 1
        if n % 100 == 50:
            try: C.drop((ca, cb)[n // 100 % 2])
            except AssertionError: pass
        time.sleep(0.005)
    check(eventually(lambda: set(got) == set(range(n)), 30), sorted(set(range(n)) - set(got))[:9]); check(sorted(set(got), key=got.index) == list(range(n)), "order")

@scenario("restart")
def input_under_load_over_a_restart():
    a, b = pair("iul"); ca, cb = C.client(C.edge, a), C.client(C.edge, b); got = []; cb.on_message_received = lambda x: got.append(int(x.data)); must(ca.connect); time.sleep(0.3); acked = []; t = threading.Timer(0.3, restart); t.start(); end = time.time() + 60
    for i in range(120):
        while True:
            try: ca.send_message_to_output(str(i), "out1"); acked.append(i); break
            except Exception: time.sleep(0.2); check(time.time() < end, "cannot send")
        time.sleep(0.005)
    t.join(30); check(eventually(lambda: set(got) >= set(acked), 40), sorted(set(acked) - set(got))[:9]); first = sorted(set(got), key=got.index); check(first == sorted(first), "order", first)

@scenario()
def input_large_and_many():
    """bodies of 262,111 bytes to a slow receiver, while its twin and methods work"""
    a, b = pair("ilm"); ca, w = C.client(C.edge, a), wire(C.edge, b); w.subscribe("devices/%s/modules/%s/inputs/#" % (C.edge, b), METHODS); big = os.urandom(262111)
    for i in range(6): must(lambda: ca.send_message_to_output(Message(big), "out1"), 30)
    got = [w.message(20, ack=False) for _ in range(6)]; check(all(g[1] == big for g in got)); check(w.twin()[0] == 200); r = together([lambda: call(C.edge, "x", 1, b, response=10), lambda: w.publish("$iothub/methods/res/200/?$rid=" + asked(w)[1], b"1")]); check(r[0].status_code == 200, r); [w.ack(g[2]) for g in got]; must(lambda: ca.send_message_to_output("end", "out1")); check(w.message()[1] == b"end")

@scenario()
def module_to_module_of_every_kind():
    """module → module, → leaf, → leaf's module; connect time-out; who leaves; names; 128 KiB; a hundred at once"""
    a, b = C.new_module("mek-a"), C.new_module("mek-b"); did, leaf = C.device("mekl"); cb = C.client(C.edge, b); responder(cb, lambda rq: (200, [rq.name, rq.payload])); responder(leaf, lambda rq: (201, rq.payload)); time.sleep(0.5)
    for name in ["a b", "ünï", "a/b", "x" * 100]: r = m2m(a, b, {"methodName": name, "payload": 1}); check(r.status_code == 200 and r.json() == {"status": 200, "payload": [name, 1]}, name, r.text)
    big = "y" * (127 * 1024); r = m2m(a, b, {"methodName": "big", "payload": big}); check(r.json() == {"status": 200, "payload": ["big", big]}); check(m2m(a, b, {"methodName": "big", "payload": big * 2}).status_code in (400, 413)); out = together([lambda i=i: m2m(a, "/" + did, {"methodName": "m", "payload": i, "responseTimeoutInSeconds": "30"}).json() for i in range(100)]); check(out == [{"status": 201, "payload": i} for i in range(100)])
    for bad in (4, 301, "x"): r = m2m(a, b, {"methodName": "m", "responseTimeoutInSeconds": bad}); check(r.status_code == 400, bad, r.status_code)
    d = C.new_module("mek-d"); cd = C.client(C.edge, d); threading.Timer(1, lambda: responder(cd, lambda rq: (200, "late"))).start(); r = m2m(a, d, {"methodName": "m", "connectTimeoutInSeconds": 15}); check(r.status_code == 200 and r.json()["payload"] == "late", r.text); t = time.time(); r = m2m(a, a, {"methodName": "m", "connectTimeoutInSeconds": 1}); check(r.status_code == 404 and 0.8 < time.time() - t < 4, r.status_code)
    e = C.new_module("mek-e"); w = wire(C.edge, e); w.subscribe(METHODS); t = time.time(); r = together([lambda: m2m(a, e, {"methodName": "m", "responseTimeoutInSeconds": 100}), lambda: (asked(w), w.cut())], 20)[0]; check(getattr(r, "status_code", r) in (404, 504) and time.time() - t < 10, r, time.time() - t)

@scenario("workload")
def edge_environment_under_cuts():
    a = C.new_module("eec"); C.routes(up="FROM /messages/modules/%s/outputs/up INTO $upstream" % a); m = C.mark(); c = edge_env(a); responder(c, lambda rq: (200, rq.payload)); must(c.connect)
    for i in range(40):
        while True:
            try: must(lambda: c.send_message_to_output(str(i), "up"), 20); break
            except dex.NoConnectionError: time.sleep(0.2)
        if i in (10, 25): C.drop(c)
    C.connected(c); r = [x["body"].decode() for x in C.telemetry(m, lambda x: x["module"] == a, 40)]; check(sorted(set(r), key=r.index) == [str(i) for i in range(40)], r); check(C.invoke(C.edge, "x", 1, a, connect=5) == (200, 1))


# ================================================================== upload of files
@scenario()
def file_upload_of_every_form():
    did, c = C.device("fue"); must(c.connect)
    for name in ["plain.txt", "a/b/c.bin", "ünï 😀.txt", "x" * 200]:
        r = must(lambda: c.get_storage_info_for_blob(name)); check(r["correlationId"] and r["hostName"] and r["containerName"] and r["sasToken"].startswith("?"), r); check(urllib.parse.unquote(r["blobName"]).endswith(name), r["blobName"]); must(lambda: c.notify_blob_upload_status(r["correlationId"], True, 200, "ok " + ODD))
    check(c.connected); must(lambda: c.send_message("beside"))


if __name__ == "__main__":
    rc = base.main()
    sys.stdout.flush()
    os._exit(rc)      # SDK threads can be left over after a failure
