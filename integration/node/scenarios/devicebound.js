// Cloud to device. The service SDK sends these by AMQP, which localhub does not serve: REST does it here.
'use strict';

const w = require('../world');

const { assert, within } = w;

function received(device) {
  const got = [];
  device.on('message', (message) => {
    got.push({ body: message.getData().toString(), message });
    device.complete(message, () => {});
  });
  return got;
}

const bodies = (got) => got.map(({ body }) => body);
const pending = async (deviceId) => (await w.registry.get(deviceId)).responseBody.cloudToDeviceMessageCount;

exports.cloud_to_device_keeps_properties = async () => {
  const deviceId = await w.device('c2d');
  const device = await w.opened(deviceId);
  const got = received(device);
  await w.subscribed(device, 'devicebound');
  const app = { p: 'a/b c=ü&+%', q: '?#' };
  await w.send(deviceId, 'hällo', { app, messageId: 'm/1', correlationId: 'c 1', contentType: 'text/plain' });
  await w.eventually(() => got.length, 'it comes');
  const [{ body, message }] = got;
  assert.strictEqual(body, 'hällo');
  assert.deepStrictEqual([message.messageId, message.correlationId, message.contentType], ['m/1', 'c 1', 'text/plain']);
  assert.strictEqual(message.to, `/devices/${deviceId}/messages/devicebound`);
  const properties = Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value]));
  assert.deepStrictEqual(properties, app);
};

exports.cloud_to_device_without_properties = async () => {
  const deviceId = await w.device('c2dbare');
  const device = await w.opened(deviceId);
  const got = received(device);
  await w.subscribed(device, 'devicebound');
  await w.send(deviceId, 'bare');
  await w.eventually(() => got.length, 'it comes');
  assert.deepStrictEqual(bodies(got), ['bare']);
};

exports.cloud_to_device_is_complete_when_acknowledged = async () => {
  const deviceId = await w.device('c2dack');
  const device = await w.opened(deviceId);
  const got = received(device);
  await w.subscribed(device, 'devicebound');
  await w.send(deviceId, 'once', { ack: 'full', messageId: 'ack-1' });
  await w.eventually(() => got.length, 'it comes');
  await w.eventually(async () => (await pending(deviceId)) === 0, 'it is complete');
  await w.cut(device);
  await w.sleep(1500);
  assert.deepStrictEqual(bodies(got), ['once']);
};

exports.cloud_to_device_before_the_first_connect_in_order = async () => {
  const deviceId = await w.device('c2dearly');
  const numbers = ['0', '1', '2', '3', '4'];
  for (const number of numbers) await w.send(deviceId, number);
  assert.strictEqual(await pending(deviceId), 5);
  const got = received(await w.opened(deviceId));
  await w.eventually(() => got.length >= 5, 'all come');
  await w.sleep(300);
  assert.deepStrictEqual(bodies(got), numbers);
};

exports.cloud_to_device_while_away_comes_once = async () => {
  const deviceId = await w.device('c2daway');
  const device = await w.opened(deviceId);
  const got = received(device);
  await w.subscribed(device, 'devicebound');
  await within(10, device.close());
  await w.send(deviceId, 'later');
  await within(10, device.open());
  await w.eventually(() => got.length, 'it comes');
  await w.sleep(1000);
  assert.deepStrictEqual(bodies(got), ['later']);
};
