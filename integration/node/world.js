// What the scenarios share: identities, clients, what the service sees, waiting with an end.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');
const { parseArgs } = require('node:util');
const { spawn } = require('node:child_process');
const mqtt = require('mqtt');
const { Client, ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Client: ServiceClient, Registry, SharedAccessSignature } = require('azure-iothub');

const names = ['gateway', 'ca', 'owner', 'edge-device', 'workload-uri', 'x509', 'x509-thumb', 'restart', 'only', 'skip'];
const { values: options } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
const ca = fs.readFileSync(options.ca, 'utf8');
const owner = Object.fromEntries(options.owner.split(';').map((pair) => pair.split(/=(.*)/s, 2)));
const hub = owner.HostName.split(':')[0];
const isGateway = options.gateway !== hub;
const edge = options['edge-device'];
const run = crypto.randomBytes(3).toString('hex');
const key = crypto.createHash('sha256').update(run).digest('base64');
const authentication = { type: 'sas', symmetricKey: { primaryKey: key, secondaryKey: key } };
const registry = Registry.fromConnectionString(options.owner);
const service = ServiceClient.fromConnectionString(options.owner);
const made = [];
const open = [];
let scope;

// The SDK does not say when the server has acknowledged a subscription: each connection notes its own.
const { connect } = mqtt;
mqtt.connect = (...how) => {
  const connection = connect(...how);
  const asked = new Map();
  connection.subscribedTo = [];
  connection.on('packetsend', ({ cmd, messageId, subscriptions }) => {
    if (cmd === 'subscribe') asked.set(messageId, subscriptions.map(({ topic }) => topic));
  });
  connection.on('packetreceive', ({ cmd, messageId }) => {
    if (cmd === 'suback') connection.subscribedTo.push(...asked.get(messageId));
  });
  return connection;
};

// ------------------------------------------------------------------ waiting
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Rejects after so many seconds; for races. */
function late(seconds, what) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} did not end within ${seconds} s`)), seconds * 1000).unref();
  });
}

/** The SDK has calls without any end of their own. */
const within = (seconds, promise, what = 'the call') => Promise.race([promise, late(seconds, what)]);

/** Asks until the answer is truthy, and gives it back. */
async function eventually(ask, what, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

/** The error of a promise that has to fail. */
async function failing(promise, name, seconds = 20) {
  const error = await within(seconds, promise.then((value) => {
    throw new assert.AssertionError({ message: `succeeded, wanted ${name}: ${JSON.stringify(value)}` });
  }, (why) => why));
  assert.strictEqual(error.name, name, `wanted ${name}, got ${error.name}: ${error.message}`);
  return error;
}

// ------------------------------------------------------------------ identities
async function device(name, more = {}) {
  const deviceId = `n-${run}-${name}`;
  made.push(deviceId);
  await registry.create({ deviceId, status: 'enabled', authentication, ...(scope ? { deviceScope: scope } : {}), ...more });
  return deviceId;
}

async function newModule(name, more = {}) {
  const moduleId = `m-${run}-${name}`;
  await registry.addModule({ deviceId: edge, moduleId, authentication, managedBy: 'IotEdge', ...more });
  return moduleId;
}

function connectionString(deviceId, moduleId, more = {}) {
  const parts = {
    HostName: hub, DeviceId: deviceId, ModuleId: moduleId, SharedAccessKey: key, GatewayHostName: options.gateway, ...more,
  };
  return Object.entries(parts).filter(([, value]) => value).map((pair) => pair.join('=')).join(';');
}

// ------------------------------------------------------------------ clients
/** Closed at the end of the scenario; errors that come later fail it. */
function kept(client) {
  open.push(client);
  client.on('error', (error) => process.emit('uncaughtException', error));
  return client;
}

async function client(deviceId, { moduleId, transport = Mqtt, more, ...set } = {}) {
  const kind = moduleId ? ModuleClient : Client;
  const made = kept(kind.fromConnectionString(connectionString(deviceId, moduleId, more), transport));
  await made.setOptions({ ca, ...set });
  return made;
}

async function opened(deviceId, set) {
  const made = await client(deviceId, set);
  await within(20, made.open(), 'open');
  return made;
}

const openedModule = (moduleId, set) => opened(edge, { moduleId, ...set });

/** A module client as `fromEnvironment` makes it inside of a container. */
async function fromEnvironment(moduleId, transport = Mqtt) {
  const { generationId } = (await registry.getModule(edge, moduleId)).responseBody;
  Object.assign(process.env, {
    IOTEDGE_IOTHUBHOSTNAME: hub,
    IOTEDGE_DEVICEID: edge,
    IOTEDGE_MODULEID: moduleId,
    IOTEDGE_GATEWAYHOSTNAME: options.gateway,
    IOTEDGE_MODULEGENERATIONID: generationId,
    IOTEDGE_WORKLOADURI: options['workload-uri'],
    IOTEDGE_APIVERSION: '2019-11-05',
    IOTEDGE_AUTHSCHEME: 'sasToken',
  });
  return kept(await within(10, ModuleClient.fromEnvironment(transport), 'fromEnvironment'));
}

/** mqtt.js below the SDK: what it is now, after a reconnect another. */
const wire = (made) => made._transport._mqtt._mqttClient;

/** Cuts the connection as a broken network does, and waits until the SDK has seen it. */
async function cut(made) {
  const before = wire(made);
  before.stream.destroy();
  await eventually(() => !before.connected, 'the SDK sees its connection end');
}

/** The SDK reconnects by itself when it has listeners. */
const reconnected = (made, before) => eventually(
  () => wire(made) !== before && wire(made).connected, 'the SDK reconnects', 30,
);

/** Awaits the SUBACK of what the SDK subscribes in the background after `on…`. */
async function subscribed(made, ...filters) {
  await eventually(() => {
    const got = wire(made) ? wire(made).subscribedTo : [];
    return filters.every((filter) => got.some((topic) => topic.includes(filter)));
  }, `subscribed to ${filters}`);
}

async function closeAll() {
  const ended = open.splice(0).map((made) => Promise.race([made.close().catch(() => {}), sleep(3000)]));
  await Promise.all(ended);
}

// ------------------------------------------------------------------ the service
function call(method, path, { headers = {}, body, raw = false } = {}) {
  const token = SharedAccessSignature.create(owner.HostName, owner.SharedAccessKeyName, owner.SharedAccessKey,
    Math.floor(Date.now() / 1000) + 3600).toString();
  return new Promise((resolve, reject) => {
    const request = https.request({
      host: hub, port: 443, method, path, ca, headers: { Authorization: token, ...headers },
    }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({
        status: response.statusCode, headers: response.headers, body: raw ? Buffer.concat(chunks) : Buffer.concat(chunks).toString(),
      }));
    });
    request.setTimeout(15000, () => request.destroy(new Error(`${method} ${path} took too long`)));
    request.on('error', reject);
    request.end(body && Buffer.from(body)); // a string would take the headers into its encoding
  });
}

async function tap(since) {
  const { items, next } = JSON.parse((await call('GET', `/telemetry?since=${since}`)).body);
  return { items, next };
}

const mark = async () => (await tap(1e15)).next;

/** What the hub has got from this client since the mark: at least so many, bodies decoded. */
async function telemetry(since, { deviceId, moduleId }, count = 1, seconds = 30) {
  const mine = (item) => (!deviceId || item.deviceId === deviceId) && (!moduleId || item.moduleId === moduleId);
  return eventually(async () => {
    const items = (await tap(since)).items.filter(mine);
    return items.length >= count && items.map((item) => ({
      body: Buffer.from(item.body, 'base64'), system: item.systemProperties, app: item.applicationProperties, item,
    }));
  }, `${count} messages of ${deviceId || moduleId} at the hub`, seconds);
}

/** AMQP is not served: cloud-to-device messages go by REST. */
async function send(deviceId, body, { app = {}, ...system } = {}) {
  const headers = { 'Content-Type': system.contentType || 'application/octet-stream' };
  for (const [name, value] of Object.entries(system)) {
    if (name !== 'contentType') headers[`iothub-${name.toLowerCase()}`] = value;
  }
  for (const [name, value] of Object.entries(app)) headers[`iothub-app-${name}`] = Buffer.from(value).toString('latin1');
  const { status } = await call('POST', `/devices/${deviceId}/messages/devicebound?api-version=2021-04-12`, { headers, body });
  assert.strictEqual(status, 204);
}

const desired = (deviceId, patch, moduleId) => {
  const twin = { properties: { desired: patch } };
  return moduleId ? registry.updateModuleTwin(deviceId, moduleId, twin, '*') : registry.updateTwin(deviceId, twin, '*');
};

async function twin(deviceId, moduleId) {
  const got = await (moduleId ? registry.getModuleTwin(deviceId, moduleId) : registry.getTwin(deviceId));
  return got.responseBody;
}

/** Direct method from the service. */
async function invoke(deviceId, methodName, payload, { moduleId, timeout = 10, connect = 0 } = {}) {
  const params = { methodName, payload, responseTimeoutInSeconds: timeout, connectTimeoutInSeconds: connect };
  const got = await (moduleId
    ? service.invokeDeviceMethod(deviceId, moduleId, params)
    : service.invokeDeviceMethod(deviceId, params));
  return got.result;
}

/** The routes of the edge device; leaf devices go upstream always. */
async function routes(more = {}) {
  if (!isGateway) return;
  const leaf = 'FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream';
  const content = { schemaVersion: '1.1', routes: { leaf, ...more }, storeAndForwardConfiguration: { timeToLiveSecs: 7200 } };
  await registry.applyConfigurationContentOnDevice(edge, {
    modulesContent: { $edgeHub: { 'properties.desired': content } },
  });
  await eventually(async () => {
    const { properties } = await twin(edge, '$edgeHub');
    return properties.reported.lastDesiredVersion === properties.desired.$version;
  }, '$edgeHub reports the routes');
}

function restart() {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', options.restart], { stdio: 'ignore' });
    child.on('exit', (code) => (code ? reject(new Error(`${options.restart}: ${code}`)) : resolve()));
  });
}

async function setUp() {
  if (isGateway) scope = (await registry.get(edge)).responseBody.deviceScope;
  await routes();
}

async function tearDown() {
  await Promise.all(made.map((deviceId) => registry.delete(deviceId).catch(() => {})));
}

/** Marks scenarios that need EdgeHub. */
const onGateway = (scenario) => Object.assign(scenario, { gatewayOnly: true });

module.exports = {
  assert, ca, call, client, closeAll, connectionString, cut, desired, device, edge, eventually, failing, fromEnvironment,
  hub, invoke, isGateway, kept, key, late, made, mark, newModule, onGateway, opened, openedModule, options, owner,
  reconnected, registry, restart, routes, run, send, service, setUp, sleep, subscribed, tap, tearDown, telemetry, twin,
  wire, within,
};
