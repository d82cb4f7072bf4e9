// What outlives a connection: renewed tokens, cuts, a second client of one name, a restarted server.
'use strict';

const { Message, NoRetry } = require('azure-iot-common');
const { MqttWs } = require('azure-iot-device-mqtt');
const w = require('../world');

const { assert, within } = w;

/** A device with every kind of subscription, and the proof that each of them works. */
async function listening(name, set) {
  const deviceId = await w.device(name);
  const device = await w.opened(deviceId, set);
  const got = { messages: [], patches: [] };
  device.on('message', (message) => got.messages.push(message.getData().toString()));
  device.onDeviceMethod('ping', (request, response) => response.send(200, request.payload));
  const twin = await within(10, device.getTwin());
  twin.on('properties.desired', ({ mark }) => { if (mark) got.patches.push(mark); });
  await w.subscribed(device, 'methods', 'devicebound', 'desired');
  const hears = async (mark, connect = 0) => {
    await w.send(deviceId, mark);
    await w.desired(deviceId, { mark });
    assert.deepStrictEqual(await w.invoke(deviceId, 'ping', mark, { connect }), { status: 200, payload: mark });
    await w.eventually(() => got.messages.includes(mark), `the message ${mark}`);
    await w.eventually(() => got.patches.includes(mark), `the desired change ${mark}`);
    assert.ok((await within(10, device.getTwin(), 'getTwin')).properties.desired.mark === mark);
  };
  await hears('first');
  return { deviceId, device, got, hears };
}

// Renewed every 4 s: a resumed session is given 2 s to set its handlers before messages come.
const renewal = { tokenRenewal: { tokenValidTimeInSeconds: 7, tokenRenewalMarginInSeconds: 3 } };

async function renewed(set) {
  const { deviceId, device, hears } = await listening(`renew${set ? 'ws' : ''}`, { ...renewal, ...set });
  const since = await w.mark();
  const first = w.wire(device);
  const wires = new Set([first]);
  const end = Date.now() + 9500; // past the first token's end
  let sent = 0;
  while (Date.now() < end) {
    await within(20, device.sendEvent(new Message(String(sent))));
    sent += 1;
    wires.add(w.wire(device));
    await w.sleep(50);
  }
  assert.ok(wires.size >= 3, `renewed ${wires.size - 1} times only`);
  assert.deepStrictEqual(w.wire(device).subscribedTo, [], 'the SDK subscribed again: this shows nothing');
  await hears('renewed', 5);
  const got = await w.telemetry(since, { deviceId }, sent);
  assert.deepStrictEqual(got.map(({ body }) => Number(body)), Array.from({ length: sent }, (_, number) => number));
}

exports.token_renewal_keeps_everything = () => renewed();

exports.token_renewal_over_websockets = () => renewed({ transport: MqttWs });

exports.a_cut_connection_comes_back_with_everything = async () => {
  const { device, hears } = await listening('cut');
  for (const mark of ['one', 'two', 'three']) {
    const before = w.wire(device);
    await w.cut(device);
    await w.reconnected(device, before);
    await hears(mark, 5);
  }
};

exports.the_newer_of_two_clients_keeps_the_session = async () => {
  const { deviceId, device, hears } = await listening('taken');
  await within(10, device.close());
  const old = await w.opened(deviceId); // listens to nothing: does not come back by itself
  await within(10, old.sendEvent(new Message('old')));
  await within(10, device.open());
  await w.eventually(() => !w.wire(old).connected, 'the older connection ends');
  await hears('newer', 5);
};

exports.two_clients_of_one_name_do_not_hurt_others = async () => {
  const { deviceId, device, hears } = await listening('storm');
  const other = await listening('calm');
  const rival = await w.opened(deviceId);
  let connects = 0;
  rival.on('connect', () => { connects += 1; });
  device.on('connect', () => { connects += 1; });
  rival.onDeviceMethod('ping', (request, response) => response.send(200, request.payload));
  await w.sleep(4000);
  assert.ok(connects > 1 && connects < 100, `${connects} connects in 4 s`);
  await other.hears('calm');
  // While it is connecting, `close` of the SDK may never end: it gives up, and its connection is cut.
  rival.setRetryPolicy(new NoRetry());
  await w.eventually(() => w.wire(rival).connected, 'the rival has the seat', 30);
  w.wire(rival).stream.destroy();
  await w.eventually(() => w.wire(device).connected, 'the one that is left connects', 30);
  await hears('after the storm', 10);
};

exports.a_restarted_server_knows_its_sessions = async () => {
  const { device, hears } = await listening('restart');
  const moduleId = await w.newModule('restart');
  const module = await w.openedModule(moduleId);
  module.onMethod('ping', (request, response) => response.send(200, 'module'));
  await w.subscribed(module, 'methods');
  const before = [w.wire(device), w.wire(module)];
  await within(60, w.restart(), 'the restart');
  await w.reconnected(device, before[0]);
  await w.reconnected(module, before[1]);
  await hears('restarted', 10);
  assert.strictEqual((await w.invoke(w.edge, 'ping', 1, { moduleId, connect: 10 })).payload, 'module');
};

exports.an_idle_client_stays_by_its_pings = async () => {
  const device = await w.opened(await w.device('idle'), { keepalive: 2 });
  const first = w.wire(device);
  await w.sleep(7000);
  assert.ok(w.wire(device) === first && first.connected, 'it was dropped');
  await within(10, device.sendEvent(new Message('alive')));
};

exports.a_silent_client_is_dropped_after_its_keep_alive = async () => {
  const device = await w.opened(await w.device('silent'), { keepalive: 2 });
  const first = w.wire(device);
  first.pingTimer.clear(); // as a process that hangs
  first.pingTimer = null;
  const began = Date.now();
  await w.eventually(() => !first.connected, 'the server ends the connection', 10);
  assert.ok(Date.now() - began > 1500, 'dropped before its time');
};
