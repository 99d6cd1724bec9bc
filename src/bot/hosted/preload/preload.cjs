'use strict'
// Loaded by Node before a hosted bot's own code (NODE_OPTIONS). It leads the WebSocket to WhatsApp through
// blacksky's relay on this machine, and tells the relay what Baileys says of its link. Whatever fails here must not
// reach the bot.
const start = () => {
	const { BLACKSKY_RELAY: address, BLACKSKY_RELAY_THROUGH: through } = process.env
	if (!address) return
	const http = require('node:http')
	const https = require('node:https')
	const { EventEmitter } = require('node:events')
	const { syncBuiltinESMExports } = require('node:module')
	const relay = new URL(address)
	const request = http.request

	// One after the other, so that they arrive in order; none keeps the bot from ending.
	const waiting = []
	let busy = false
	const send = () => {
		const body = waiting.shift()
		busy = body !== undefined
		if (!busy) return
		let over = false
		const next = () => {
			if (over) return
			over = true
			send()
		}
		try {
			const post = request({
				host: relay.hostname,
				port: relay.port,
				path: `${relay.pathname}/said`,
				method: 'POST',
				headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
				timeout: 5000,
				// Not the global one: a proxy for the bot's own requests is not for these.
				agent: false
			})
			post.on('response', response => response.resume())
			post.on('socket', socket => socket.unref())
			post.on('timeout', () => post.destroy())
			post.on('error', next)
			post.on('close', next)
			post.end(body)
		} catch {
			next()
		}
	}
	const say = report => {
		if (waiting.length >= 100) waiting.shift()
		waiting.push(JSON.stringify(report))
		if (!busy) send()
	}

	// Baileys 6 and 7 and their forks emit their events on Node's emitter.
	let code
	const hear = (event, update) => {
		if (event === 'creds.update') {
			if (!update.pairingCode || update.pairingCode === code) return
			code = update.pairingCode
			return say({ what: 'pairing_code', code: String(code) })
		}
		if (typeof update.qr === 'string') say({ what: 'qr', payload: update.qr })
		if (update.connection === 'open') say({ what: 'open' })
		if (update.connection === 'close') {
			const error = update.lastDisconnect?.error
			const status = Number(error?.output?.statusCode ?? error?.statusCode ?? 0)
			say({ what: 'closed', code: status > 0 && status < 65536 ? Math.trunc(status) : 0 })
		}
	}
	const emit = EventEmitter.prototype.emit
	EventEmitter.prototype.emit = function (event, update) {
		if ((event === 'connection.update' || event === 'creds.update') && update) {
			try {
				hear(event, update)
			} catch {}
		}
		return Reflect.apply(emit, this, arguments)
	}

	// What every version of ws calls, with an upgrade for web.whatsapp.com.
	const led = given => {
		const [first, second, third] = given
		const from = typeof first === 'string' ? new URL(first) : first
		const isUrl = from instanceof URL
		const options = isUrl
			? { host: from.hostname, path: from.pathname + from.search, ...(typeof second === 'object' ? second : {}) }
			: { ...from }
		const host = String(options.hostname ?? options.host ?? '').replace(/:\d+$/, '')
		if (host !== 'web.whatsapp.com') return
		const headers = { ...options.headers }
		const upgrade = Object.keys(headers).find(name => name.toLowerCase() === 'upgrade')
		if (!upgrade || String(headers[upgrade]).toLowerCase() !== 'websocket') return
		for (const name of Object.keys(headers)) if (name.toLowerCase() === 'host') delete headers[name]
		for (const name of ['agent', 'createConnection', 'socketPath', 'servername', 'href', 'lookup', 'auth']) delete options[name]
		const listener = [second, third].find(one => typeof one === 'function')
		return request(
			{
				...options,
				protocol: 'http:',
				host: relay.hostname,
				hostname: relay.hostname,
				port: relay.port,
				defaultPort: undefined,
				path: relay.pathname + (options.path ?? '/'),
				headers,
				agent: false
			},
			listener
		)
	}
	const lead = (original, ends) =>
		function (...given) {
			let done
			try {
				done = led(given)
				if (ends) done?.end()
			} catch {}
			return done ?? Reflect.apply(original, this, given)
		}
	if (through !== '0') {
		https.request = lead(https.request, false)
		// What `get` begins it also sends: ws 7 relies on that.
		https.get = lead(https.get, true)
		syncBuiltinESMExports()
	}
	say({ what: 'loaded', node: process.versions.node, pid: process.pid })
}
try {
	start()
} catch (error) {
	console.error(`blacksky: the preload does not work here, and the bot goes around the relay: ${error?.message}`)
}
