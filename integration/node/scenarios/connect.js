// Coming in: transports, names, credentials, and how a refusal looks to an application.
'use strict';

const fs = require('node:fs');
const { Client, SharedAccessSignature, X509AuthenticationProvider } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Message } = require('azure-iot-common');
const w = require('../world');

const { assert, within } = w;

exports.connect_through_gateway_host_name = async () => {
  const device = await w.opened(await w.device('conn'));
  await within(10, device.sendEvent(new Message('hello')));
};

exports.connect_through_gateway_host_name_with_port = async () => {
  const device = await w.opened(await w.device('port'), { more: { GatewayHostName: `${w.options.gateway}:8883` } });
  await within(10, device.sendEvent(new Message('hello')));
};

exports.connect_directly_to_the_hub = async () => {
  const device = await w.opened(await w.device('direct'), { more: { GatewayHostName: undefined } });
  await within(10, device.sendEvent(new Message('hello')));
};

exports.connect_over_websockets = async () => {
  const deviceId = await w.device('ws');
  const since = await w.mark();
  const device = await w.opened(deviceId, { transport: MqttWs });
  await within(10, device.sendEvent(new Message('x'.repeat(100000)))); // more than a WebSocket frame's first length
  const [message] = await w.telemetry(since, { deviceId });
  assert.strictEqual(message.body.length, 100000);
  device.onDeviceMethod('ping', (request, response) => response.send(200, 'pong'));
  await w.subscribed(device, 'methods');
  assert.strictEqual((await w.invoke(deviceId, 'ping')).payload, 'pong');
};

exports.close_and_open_again = async () => {
  const device = await w.opened(await w.device('again'));
  await within(10, device.close());
  await within(10, device.open());
  await within(10, device.sendEvent(new Message('again')));
};

exports.connect_with_a_token_made_by_the_application = async () => {
  const deviceId = await w.device('sas');
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const token = SharedAccessSignature.create(w.hub, deviceId, w.key, expiry).toString();
  const device = w.kept(Client.fromSharedAccessSignature(token, Mqtt)); // knows of no gateway
  await device.setOptions({ ca: w.ca });
  await within(10, device.open());
  await within(10, device.sendEvent(new Message('hello')));
};

exports.connect_with_a_certificate = async () => {
  const thumbprints = { primaryThumbprint: w.options['x509-thumb'], secondaryThumbprint: w.options['x509-thumb'] };
  const deviceId = await w.device('x509', { authentication: { type: 'selfSigned', x509Thumbprint: thumbprints } });
  const credentials = { host: w.hub, deviceId, gatewayHostName: w.options.gateway };
  const device = w.kept(Client.fromAuthenticationProvider(new X509AuthenticationProvider(credentials), Mqtt));
  const [cert, key] = ['pem', 'key'].map((end) => fs.readFileSync(`${w.options.x509}.${end}`, 'utf8'));
  await device.setOptions({ ca: w.ca, cert, key });
  await within(10, device.open());
  await within(10, device.sendEvent(new Message('hello')));
};

exports.connect_with_a_model_id = async () => {
  const device = await w.opened(await w.device('pnp'), { modelId: 'dtmi:com:example:Thermostat;1' });
  assert.ok((await within(10, device.getTwin())).properties.desired.$version);
};

exports.a_wrong_key_is_unauthorized = async () => {
  const wrong = Buffer.from('wrong'.repeat(6)).toString('base64');
  const device = await w.client(await w.device('wrong'), { more: { SharedAccessKey: wrong } });
  await w.failing(device.open(), 'UnauthorizedError');
};

exports.an_unknown_device_is_unauthorized = async () => {
  const device = await w.client(`n-${w.run}-nobody`);
  await w.failing(device.open(), 'UnauthorizedError');
};

exports.a_disabled_device_is_unauthorized = async () => {
  const device = await w.client(await w.device('off', { status: 'disabled' }));
  await w.failing(device.open(), 'UnauthorizedError');
};

exports.an_expired_token_is_unauthorized = async () => {
  const deviceId = await w.device('expired');
  const expiry = Math.floor(Date.now() / 1000) - 120;
  const token = SharedAccessSignature.create(w.hub, deviceId, w.key, expiry).toString();
  const device = w.kept(Client.fromSharedAccessSignature(token, Mqtt));
  await device.setOptions({ ca: w.ca });
  await w.failing(device.open(), 'UnauthorizedError');
};

exports.a_server_of_an_unknown_authority_is_refused_by_the_client = async () => {
  const device = await w.client(await w.device('ca'));
  await device.setOptions({ ca: fs.readFileSync(`${w.options.x509}.pem`, 'utf8') });
  await w.failing(device.open(), 'UnauthorizedError');
};

exports.a_device_that_is_disabled_is_disconnected = async () => {
  const deviceId = await w.device('lock');
  const device = await w.opened(deviceId);
  const { responseBody } = await w.registry.get(deviceId);
  await w.registry.update({ ...responseBody, status: 'disabled' });
  await w.eventually(() => !w.wire(device).connected, 'its connection ends', 10);
  await w.failing((await w.client(deviceId)).open(), 'UnauthorizedError');
};
