// Device to cloud.
'use strict';

const crypto = require('node:crypto');
const { Message } = require('azure-iot-common');
const w = require('../world');

const { assert, within } = w;

function message(body, { app = {}, ...system } = {}) {
  const made = Object.assign(new Message(body), system);
  for (const [name, value] of Object.entries(app)) made.properties.add(name, value);
  return made;
}

exports.telemetry_keeps_body_and_properties = async () => {
  const deviceId = await w.device('props');
  const device = await w.opened(deviceId);
  const since = await w.mark();
  const app = { 'k ü': 'v/1 =&?#+%', empty: '', 'a&b=c': '√ 日本 🙂', plus: '1+1', level: 'info' };
  const system = {
    messageId: 'mid/1 ü', correlationId: 'cor 1', contentType: 'application/json;charset=utf-8', contentEncoding: 'utf-8', userId: 'u',
  };
  await within(10, device.sendEvent(message('{"t":1}', { app, ...system })));
  const [got] = await w.telemetry(since, { deviceId });
  assert.strictEqual(got.body.toString(), '{"t":1}');
  assert.deepStrictEqual(got.app, app);
  const { mid, cid, ct, ce, uid } = got.system;
  assert.deepStrictEqual({ mid, cid, ct, ce, uid }, {
    mid: 'mid/1 ü', cid: 'cor 1', ct: 'application/json;charset=utf-8', ce: 'utf-8', uid: 'u',
  });
};

exports.telemetry_of_every_byte_and_of_none = async () => {
  const deviceId = await w.device('bytes');
  const device = await w.opened(deviceId);
  const since = await w.mark();
  const all = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  await within(10, device.sendEvent(new Message(all)));
  await within(10, device.sendEvent(new Message(Buffer.alloc(0))));
  const got = await w.telemetry(since, { deviceId }, 2);
  assert.deepStrictEqual(got.map(({ body }) => body), [all, Buffer.alloc(0)]);
};

exports.telemetry_arrives_in_order = async () => {
  const deviceId = await w.device('order');
  const device = await w.opened(deviceId);
  const since = await w.mark();
  const numbers = Array.from({ length: 300 }, (_, number) => String(number));
  await within(30, Promise.all(numbers.map((number) => device.sendEvent(new Message(number)))));
  const got = await w.telemetry(since, { deviceId }, numbers.length);
  assert.deepStrictEqual(got.map(({ body }) => body.toString()), numbers);
};

exports.telemetry_of_256_kib = async () => {
  const deviceId = await w.device('big');
  const device = await w.opened(deviceId);
  const since = await w.mark();
  const big = crypto.randomBytes(256 * 1024); // the most that the SDK sends; properties come on top
  await within(30, device.sendEvent(message(big, { app: { size: 'x'.repeat(1000) } })));
  const [got] = await w.telemetry(since, { deviceId });
  assert.ok(got.body.equals(big), 'the body was altered');
  assert.strictEqual(got.app.size.length, 1000);
};

exports.telemetry_too_large_leaves_the_client_whole = async () => {
  const deviceId = await w.device('huge');
  const device = await w.opened(deviceId);
  await w.failing(device.sendEvent(new Message(Buffer.alloc(256 * 1024 + 1))), 'MessageTooLargeError');
  await within(10, device.sendEvent(new Message('still fine')));
};

exports.telemetry_opens_the_connection_by_itself = async () => {
  const deviceId = await w.device('auto');
  const device = await w.client(deviceId);
  const since = await w.mark();
  await within(20, device.sendEvent(new Message('first')));
  const [got] = await w.telemetry(since, { deviceId });
  assert.strictEqual(got.body.toString(), 'first');
};

exports.telemetry_survives_cut_connections = async () => {
  const deviceId = await w.device('cuts');
  const device = await w.opened(deviceId);
  const since = await w.mark();
  const sent = [];
  for (let round = 0; round < 3; round += 1) {
    for (let number = 0; number < 30; number += 1) sent.push(device.sendEvent(new Message(`${round}-${number}`)));
    await w.sleep(5);
    await w.cut(device);
  }
  await within(60, Promise.all(sent));
  await w.eventually(async () => { // the SDK publishes again what was cut off: some come twice
    const got = await w.telemetry(since, { deviceId });
    return new Set(got.map(({ body }) => body.toString())).size === sent.length;
  }, 'every acknowledged message at the hub', 30);
};
