'use strict'
// The gateway's work as a Node service: node:http, undici, node:crypto. One process.
//
// Arguments: port, the platform's origin, and the file of its authority ("-" for plain HTTP).

const crypto = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')
const { Pool } = require('undici')

const [port, origin, ca] = process.argv.slice(2)

function need (name) {
  const value = process.env[name]
  if (!value) throw new Error(`the variable ${name} is missing`)
  return value
}

// --- The scheme: SHA-256 of the plaintext, AES-ECB with zero padding, base64 -----------------------------------------

const KEY = Buffer.from(need('PEER_AES_KEY'), 'latin1')
const CIPHER = { 16: 'aes-128-ecb', 24: 'aes-192-ecb', 32: 'aes-256-ecb' }[KEY.length]

// ECB without padding keeps nothing between whole blocks, so one context of each direction serves every call.
const sealing = crypto.createCipheriv(CIPHER, KEY, null).setAutoPadding(false)
const opening = crypto.createDecipheriv(CIPHER, KEY, null).setAutoPadding(false)

const digest = crypto.hash
  ? (bytes) => crypto.hash('sha256', bytes, 'hex')
  : (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')

// Nothing below waits, so one room for bytes on their way serves every call. Memory outside the heap is dear in Node.
const ROOM = Buffer.alloc(4 << 20)
const roomFor = (length) => length <= ROOM.length ? ROOM.subarray(0, length) : Buffer.allocUnsafe(length)

// Gives the text and its digest. `parts` are the plaintext's pieces, `length` all their bytes.
function seal (parts, length) {
  const padded = length + 16 - length % 16
  const block = roomFor(padded)
  let at = 0
  for (const part of parts) {
    part.copy(block, at)
    at += part.length
  }
  block.fill(0, length)
  const signed = digest(block.subarray(0, length))
  return { text: sealing.update(block).toString('base64'), signed }
}

// Gives the plaintext of an answer, or nothing when its digest does not agree.
function open (parts, signed) {
  const text = parts.length === 1 ? parts[0] : Buffer.concat(parts)
  const room = roomFor(text.length)
  const length = room.write(text.latin1Slice(0, text.length), 'base64')
  if (text.length % 4 !== 0 || length === 0 || length % 16 !== 0) return null
  const padded = opening.update(room.subarray(0, length))
  let end = padded.length
  while (end > 0 && padded[end - 1] === 0) end--
  const plain = padded.subarray(0, end)
  return digest(plain) === signed ? plain : null
}

// --- The platform ----------------------------------------------------------------------------------------------------

const platform = new Pool(origin, {
  connections: 256,
  pipelining: 1,
  keepAliveTimeout: 30_000,
  connectTimeout: 5_000,
  headersTimeout: 150_000,
  bodyTimeout: 150_000,
  connect: ca === '-'
    ? undefined
    : { ca: fs.readFileSync(ca), ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:ECDHE+AESGCM', minVersion: 'TLSv1.2' }
})

let token = null
let login = null

// One login at a time, however many calls wait for it. `refused` is the token that shall be replaced.
function freshToken (refused) {
  if (token !== refused) return Promise.resolve(token)
  login ??= logIn().finally(() => { login = null })
  return login
}

async function logIn () {
  const { statusCode, body } = await platform.request({
    path: '/service/cloud/auth',
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ APPKey: need('PEER_APP_KEY'), APPSecret: need('PEER_APP_SECRET') })
  })
  const answer = await body.json()
  if (statusCode !== 200 || !answer.data?.token) throw new Error(`the login was answered ${statusCode}`)
  token = answer.data.token
  setTimeout(() => freshToken(token).catch(complain), 0.8 * 24 * 3600 * 1000).unref()
  return token
}

function complain (error) {
  process.stderr.write(`${error.message}\n`)
}

function header (raw, name) {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i].length === name.length && raw[i].latin1Slice(0, name.length).toLowerCase() === name) return raw[i + 1].latin1Slice()
  }
}

// One call, by undici's own interface below its promises and streams.
class Exchange {
  constructor (call, used) {
    this.call = call
    this.used = used
    this.parts = []
  }

  onConnect () {}

  onHeaders (status, raw) {
    this.status = status
    this.signed = header(raw, 'is-encrypted') === '1' ? header(raw, 'signed') ?? '' : null
    return true
  }

  onData (part) {
    this.parts.push(part)
    return true
  }

  onComplete () {
    const { call } = this
    if (this.status === 401 && !call.replayed) {
      call.replayed = true
      freshToken(this.used).then(() => send(call), (error) => refuse(call, 503, error))
      return
    }
    const plain = this.signed === null ? Buffer.concat(this.parts) : open(this.parts, this.signed)
    if (plain === null) return refuse(call, 502, new Error('the answer does not open'))
    answer(call, this.status, plain)
  }

  onError (error) {
    refuse(this.call, 502, error)
  }
}

function send (call) {
  const headers = ['Authorization', `Token ${token}`]
  if (call.signed !== null) headers.push('Is-Encrypted', '1', 'Signed', call.signed)
  if (call.body !== null) headers.push('Content-Type', call.request.headers['content-type'] ?? 'application/json')
  platform.dispatch({ path: call.target, method: call.request.method, headers, body: call.body }, new Exchange(call, token))
}

// --- The programs ----------------------------------------------------------------------------------------------------

function answer (call, status, bytes) {
  call.response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': bytes.length })
  call.response.end(bytes)
  note(call, status, bytes.length)
}

function refuse (call, status, error) {
  complain(error)
  answer(call, status, Buffer.from(JSON.stringify({ code: status, status: 'refused', data: null })))
}

// A bucket of a million calls a second, as the other rival has.
const RATE = 1_000_000
const BURST = 1_000
let room = BURST
let filled = performance.now()

function admitted (now) {
  room = Math.min(BURST, room + (now - filled) * RATE / 1000)
  filled = now
  if (room < 1) return false
  room -= 1
  return true
}

// A log line for each call, written 64 KiB at a time, or after a second.
const log = fs.openSync('access.log', 'a')
let lines = ''
let calls = 0
let second = ''
let secondUntil = 0

function note (call, status, sent) {
  const now = Date.now()
  if (now >= secondUntil) {
    second = new Date(now).toISOString()
    secondUntil = now - now % 1000 + 1000
  }
  const took = (performance.now() - call.begun) / 1000
  lines += `{"at":"${second}","request_id":"${process.pid}-${++calls}","method":"${call.request.method}","operation":"${call.path}",` +
    `"status":${status},"bytes_in":${call.arrived},"bytes_out":${sent},"seconds":${took.toFixed(3)}}\n`
  if (lines.length > 65536) flush()
}

function flush () {
  if (lines === '') return
  const text = lines
  lines = ''
  fs.write(log, text, () => {})
}
setInterval(flush, 1000).unref()

function serve (request, response) {
  const begun = performance.now()
  const url = request.url
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const call = { request, response, begun, path, target: url, body: null, signed: null, arrived: 0, replayed: false }
  if (!admitted(begun)) return refuse(call, 429, new Error('too many calls'))
  if (request.method === 'GET') {
    if (mark >= 0) {
      const query = Buffer.from(url.slice(mark + 1), 'latin1')
      const { text, signed } = seal([query], query.length)
      call.target = `${path}?${text}`
      call.signed = signed
    }
    return start(call)
  }
  const parts = []
  request.on('data', (part) => {
    parts.push(part)
    call.arrived += part.length
  })
  request.on('end', () => {
    const { text, signed } = seal(parts, call.arrived)
    call.body = text
    call.signed = signed
    start(call)
  })
  request.on('error', () => {})
}

function start (call) {
  if (token !== null) return send(call)
  freshToken(null).then(() => send(call), (error) => refuse(call, 503, error))
}

const server = http.createServer({ keepAliveTimeout: 60_000, noDelay: true }, serve)
server.maxRequestsPerSocket = 0
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 })
