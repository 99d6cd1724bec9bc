// Opens one WebSocket to WhatsApp in each way that a client may, and says of each what came back.
'use strict'
const https = require('node:https')
const { Worker, isMainThread, parentPort } = require('node:worker_threads')

const url = 'wss://web.whatsapp.com/ws/chat'
const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' }
const options = { host: 'web.whatsapp.com', port: 443, path: '/ws/chat', headers, createConnection: () => { throw new Error('around the relay') } }

const answered = request => new Promise(resolve => {
	request.on('upgrade', (response, socket) => {
		socket.destroy()
		resolve(response.statusCode)
	})
	request.on('response', response => resolve(response.statusCode))
	request.on('error', error => resolve(error.message))
})
const opened = WebSocket => new Promise(resolve => {
	const socket = new WebSocket(url, { origin: 'https://web.whatsapp.com' })
	socket.on('open', () => {
		socket.terminate()
		resolve(101)
	})
	socket.on('error', error => resolve(error.message))
})
const ways = {
	// ws 8
	request: () => {
		const request = https.request(options)
		request.end()
		return answered(request)
	},
	// ws 7
	get: () => answered(https.get(options)),
	url: () => answered(https.get(url.replace('wss', 'https'), { headers })),
	imported: async () => answered((await import('node:https')).get(options)),
	ws: () => opened(require('ws')),
	thread: () => new Promise(resolve => new Worker(__filename).on('message', resolve).on('error', error => resolve(error.message)))
}

if (isMainThread) {
	;(async () => {
		for (const [way, open] of Object.entries(ways)) console.log(way, await open())
	})()
} else {
	opened(require('ws')).then(code => parentPort.postMessage(code))
}
