// The service SDK, azure-iothub: registry, twins, query, statistics; and file upload from a device.
'use strict';

const crypto = require('node:crypto');
const { Readable } = require('node:stream');
const { JobClient, Registry } = require('azure-iothub');
const w = require('../world');

const { assert, registry, within } = w;

const body = async (promise) => (await within(15, promise)).responseBody;

exports.service_devices = async () => {
  const deviceId = await w.device('crud');
  const device = await body(registry.get(deviceId));
  assert.deepStrictEqual([device.deviceId, device.status, device.authentication.symmetricKey.primaryKey], [deviceId, 'enabled', w.key]);
  assert.ok(device.etag && device.generationId && !Number.isNaN(Date.parse(device.lastActivityTime)));
  await w.failing(registry.create({ deviceId }), 'DeviceAlreadyExistsError');
  const updated = await body(registry.update({ ...device, status: 'disabled', statusReason: 'why' }));
  assert.deepStrictEqual([updated.status, updated.statusReason], ['disabled', 'why']);
  assert.notStrictEqual(updated.etag, device.etag);
  assert.ok((await body(registry.list())).some((one) => one.deviceId === deviceId));
  await within(15, registry.delete(deviceId));
  await w.failing(registry.get(deviceId), 'DeviceNotFoundError');
  await w.failing(registry.getTwin(deviceId), 'DeviceNotFoundError');
};

exports.service_makes_keys_and_the_modules_of_an_edge_device = async () => {
  const deviceId = `n-${w.run}-gen`;
  w.made.push(deviceId);
  const device = await body(registry.create({ deviceId, capabilities: { iotEdge: true } }));
  assert.ok(Buffer.from(device.authentication.symmetricKey.primaryKey, 'base64').length >= 16);
  assert.ok(device.capabilities.iotEdge && device.deviceScope.startsWith('ms-azure-iot-edge://'));
  const modules = await body(registry.getModulesOnDevice(deviceId));
  assert.deepStrictEqual(modules.map(({ moduleId }) => moduleId).sort(), ['$edgeAgent', '$edgeHub']);
};

exports.service_modules_with_etags = async () => {
  const deviceId = await w.device('mods');
  const module = { deviceId, moduleId: 'mod1', managedBy: 'me' };
  const added = await body(registry.addModule(module));
  assert.deepStrictEqual([added.moduleId, added.managedBy], ['mod1', 'me']);
  await w.failing(registry.addModule(module), 'DeviceAlreadyExistsError');
  const updated = await body(registry.updateModule({ ...added, managedBy: 'you' }));
  assert.strictEqual(updated.managedBy, 'you');
  await w.failing(registry.updateModule({ ...added, managedBy: 'late' }), 'InvalidEtagError');
  assert.strictEqual((await body(registry.updateModule({ ...added, managedBy: 'forced' }, true))).managedBy, 'forced');
  const removed = (...what) => new Promise((resolve, reject) => { // the SDK's promises of this one do not work
    registry.removeModule(...what, (error) => (error ? reject(error) : resolve()));
  });
  await w.failing(removed({ ...added, etag: 'AAAA' }), 'InvalidEtagError');
  await within(15, removed(deviceId, 'mod1'));
  assert.deepStrictEqual(await body(registry.getModulesOnDevice(deviceId)), []);
};

exports.service_twins_with_etags = async () => {
  const deviceId = await w.device('stwin');
  const first = await body(registry.updateTwin(deviceId, { tags: { site: 'a' }, properties: { desired: { x: 1 } } }, '*'));
  assert.deepStrictEqual([first.tags, first.properties.desired.x], [{ site: 'a' }, 1]);
  assert.ok(first.properties.desired.$metadata.x.$lastUpdated);
  const second = await body(registry.updateTwin(deviceId, { tags: { site: null, b: 2 } }, first.etag));
  assert.deepStrictEqual(second.tags, { b: 2 });
  await w.failing(registry.updateTwin(deviceId, { tags: { z: 1 } }, first.etag), 'InvalidEtagError');
  const twin = await body(registry.getTwin(deviceId));
  const { result: third } = await within(15, twin.update({ properties: { desired: { x: null, y: 2 } } }));
  assert.deepStrictEqual([third.properties.desired.x, third.properties.desired.y], [undefined, 2]);
  assert.ok(third.properties.desired.$version > second.properties.desired.$version);
};

exports.service_module_twins = async () => {
  const deviceId = await w.device('smtwin');
  await within(15, registry.addModule({ deviceId, moduleId: 'mod1' }));
  const twin = await body(registry.updateModuleTwin(deviceId, 'mod1', { properties: { desired: { a: 1 } } }, '*'));
  assert.deepStrictEqual([twin.moduleId, twin.properties.desired.a], ['mod1', 1]);
  assert.strictEqual((await body(registry.getModuleTwin(deviceId, 'mod1'))).properties.desired.a, 1);
  await w.failing(registry.getModuleTwin(deviceId, 'nobody'), 'Error').then(({ response }) => assert.strictEqual(response.statusCode, 404));
};

exports.service_query_by_pages = async () => {
  const ids = [];
  for (const name of ['q1', 'q2', 'q3', 'q4', 'q5']) ids.push(await w.device(name));
  await Promise.all(ids.map((deviceId) => registry.updateTwin(deviceId, { tags: { run: w.run } }, '*')));
  const query = registry.createQuery(`SELECT * FROM devices WHERE tags.run = '${w.run}'`, 2);
  const got = [];
  const pages = [];
  while (query.hasMoreResults && pages.length < 10) {
    const { result } = await within(15, query.nextAsTwin());
    pages.push(result.length);
    got.push(...result.map(({ deviceId }) => deviceId));
  }
  assert.deepStrictEqual(got.sort(), ids.sort());
  assert.ok(pages.every((count) => count <= 2) && pages.length <= 4, `pages of ${pages}`);
  await within(15, registry.addModule({ deviceId: ids[0], moduleId: 'mod1' }));
  const modules = registry.createQuery(`SELECT * FROM devices.modules WHERE deviceId = '${ids[0]}'`);
  const { result } = await within(15, modules.nextAsTwin());
  assert.deepStrictEqual(result.map(({ moduleId }) => moduleId), ['mod1']);
  assert.strictEqual(modules.hasMoreResults, false);
};

exports.service_bad_query_is_refused = async () => {
  await w.failing(registry.createQuery('SELECT FROM WHERE').next(), 'ArgumentError');
};

exports.service_many_devices_at_once = async () => {
  const devices = ['b1', 'b2', 'b3'].map((name) => ({ deviceId: `n-${w.run}-${name}` }));
  w.made.push(...devices.map(({ deviceId }) => deviceId));
  const added = await body(registry.addDevices(devices));
  assert.deepStrictEqual([added.isSuccessful, added.errors], [true, []]);
  const again = await body(registry.addDevices(devices.slice(0, 1))).catch(({ responseBody }) => JSON.parse(responseBody));
  assert.strictEqual(again.isSuccessful, false);
  assert.strictEqual((await body(registry.removeDevices(devices, true))).isSuccessful, true);
  await w.failing(registry.get(devices[0].deviceId), 'DeviceNotFoundError');
};

exports.service_statistics_count = async () => {
  const before = await body(registry.getRegistryStatistics());
  await w.device('stat1');
  await w.device('stat2', { status: 'disabled' });
  const after = await body(registry.getRegistryStatistics());
  assert.deepStrictEqual(['totalDeviceCount', 'enabledDeviceCount', 'disabledDeviceCount'].map((name) => after[name] - before[name]), [2, 1, 1]);
  const { body: connected } = await w.call('GET', '/statistics/service?api-version=2021-04-12');
  assert.ok(Number.isInteger(JSON.parse(connected).connectedDeviceCount));
};

exports.service_sees_the_connection_state = async () => {
  const deviceId = await w.device('state');
  const device = await w.opened(deviceId);
  const state = async () => (await body(registry.get(deviceId))).connectionState;
  await w.eventually(async () => (await state()) === 'Connected', 'Connected');
  await within(10, device.close());
  await w.eventually(async () => (await state()) === 'Disconnected', 'Disconnected');
};

exports.service_applies_a_configuration = async () => {
  const moduleId = await w.newModule('apply');
  await within(15, registry.applyConfigurationContentOnDevice(w.edge, {
    modulesContent: { [moduleId]: { 'properties.desired': { mode: 'auto' } } },
  }));
  assert.strictEqual((await w.twin(w.edge, moduleId)).properties.desired.mode, 'auto');
};

exports.service_wrong_key_is_unauthorized = async () => {
  const wrong = w.options.owner.replace(/SharedAccessKey=.*/, `SharedAccessKey=${Buffer.from('no'.repeat(16)).toString('base64')}`);
  await w.failing(Registry.fromConnectionString(wrong).get('x'), 'UnauthorizedError');
};

exports.service_parts_that_are_not_served_say_so = async () => {
  const error = await within(15, registry.addConfiguration({ id: 'c' }).then(() => assert.fail('served'), (why) => why));
  assert.strictEqual(error.response.statusCode, 501);
  assert.ok(JSON.parse(error.responseBody).Message);
};

exports.file_upload_hand_shake = async () => {
  const device = await w.client(await w.device('file'));
  const place = await within(15, device.getBlobSharedAccessSignature('a/b.txt'));
  for (const name of ['correlationId', 'hostName', 'containerName', 'blobName', 'sasToken']) {
    assert.ok(place[name], `${name} is missing: ${JSON.stringify(place)}`);
  }
  await within(15, device.notifyBlobUploadStatus(place.correlationId, true, 200, 'ok'));
};

exports.file_upload_to_blob = async () => {
  const deviceId = await w.device('blob');
  const device = await w.client(deviceId);
  const content = crypto.randomBytes(9 * 1024 * 1024 + 5); // three blocks of the SDK's
  await within(60, device.uploadToBlob('dir/a b.bin', Readable.from([content.subarray(0, 700), content.subarray(700)]), content.length));
  await within(60, device.uploadToBlob('small.txt', Readable.from([Buffer.from('hello')]), 5));
  const files = JSON.parse((await w.call('GET', `/devices/${deviceId}/files`)).body);
  assert.deepStrictEqual(files.map(({ name, size }) => [name, size]), [['dir/a b.bin', content.length], ['small.txt', 5]]);
  const { status, body: got } = await w.call('GET', `/uploads/${deviceId}/small.txt`);
  assert.deepStrictEqual([status, got], [200, 'hello']);
  const digest = crypto.createHash('md5').update(content).digest('base64');
  const part = await w.call('GET', `/uploads/${deviceId}/dir/a%20b.bin`, { raw: true });
  assert.strictEqual(crypto.createHash('md5').update(part.body).digest('base64'), digest);
};

exports.service_jobs_are_not_served = async () => {
  const jobs = JobClient.fromConnectionString(w.options.owner);
  const error = await within(15, jobs.getJob('x').then(() => assert.fail('served'), (why) => why));
  assert.strictEqual(error.response.statusCode, 501, error.message);
  const query = jobs.createQuery();
  await within(15, query.next().then(() => assert.fail('served'), (why) => why));
};

exports.service_replaces_twins_and_purges = async () => {
  const deviceId = await w.device('repl');
  const twin = await body(registry.updateTwin(deviceId, { tags: { a: 1 }, properties: { desired: { x: 1, y: 1 } } }, '*'));
  const headers = { 'Content-Type': 'application/json', 'If-Match': `"${twin.etag}"` };
  const put = JSON.stringify({ tags: { b: 2 }, properties: { desired: { y: 2 } } });
  const replaced = await w.call('PUT', `/twins/${deviceId}`, { headers, body: put });
  assert.strictEqual(replaced.status, 200);
  const now = JSON.parse(replaced.body);
  assert.deepStrictEqual([now.tags, now.properties.desired.x, now.properties.desired.y], [{ b: 2 }, undefined, 2]);
  assert.strictEqual(replaced.headers.etag, `"${now.etag}"`);
  assert.strictEqual((await w.call('PUT', `/twins/${deviceId}`, { headers, body: put })).status, 412);
  await w.send(deviceId, 'one');
  await w.send(deviceId, 'two');
  const purged = JSON.parse((await w.call('DELETE', `/devices/${deviceId}/commands`)).body);
  assert.deepStrictEqual([purged.deviceId, purged.totalMessagesPurged], [deviceId, 2]);
};

exports.service_counts_by_query = async () => {
  const deviceId = await w.device('cnt');
  await registry.updateTwin(deviceId, { tags: { only: w.run } }, '*');
  const query = registry.createQuery(`SELECT COUNT() AS n FROM devices WHERE devices.tags.only = '${w.run}'`);
  const { result } = await within(15, query.next());
  assert.deepStrictEqual([result, query.hasMoreResults], [[{ n: 1 }], false]);
  const error = await w.failing(registry.createQuery('SELECT * FROM devices WHERE tags.x LIKE 1').next(), 'ArgumentError');
  assert.match(error.responseBody, /character 36/);
};
