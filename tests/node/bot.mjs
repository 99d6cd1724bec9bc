// An ordinary Baileys bot, as its documentation shows it: it echoes every text, saves its
// session in files, and reconnects. It reports on stdout and obeys stdin, one JSON a line (ORDERS=no: only the first).
// Without SIM_URL it dials WhatsApp.
import { createInterface } from 'node:readline'
import makeWASocket, { useMultiFileAuthState } from 'baileys'
import pino from 'pino'

const { SIM_URL, SESSION_DIR, KEEP_ALIVE_MS, CONNECT_TIMEOUT_MS, RECONNECT, RECONNECT_MS, PAIR_NUMBER, ORDERS } = process.env
const say = line => process.stdout.write(JSON.stringify(line) + '\n')
// Its log goes the same way, the message alone.
const logger = pino({
	level: 'info',
	hooks: { logMethod: parts => say({ event: 'log', message: parts.find(part => typeof part === 'string') }) }
})
const textOf = message => message?.conversation ?? message?.extendedTextMessage?.text

let sock
let stopping = false

async function start() {
	const { state, saveCreds } = await useMultiFileAuthState(SESSION_DIR)
	sock = makeWASocket({
		auth: state,
		logger,
		...(SIM_URL && { waWebSocketUrl: SIM_URL }),
		shouldSyncHistoryMessage: () => false,
		syncFullHistory: false,
		keepAliveIntervalMs: Number(KEEP_ALIVE_MS ?? 30000),
		connectTimeoutMs: Number(CONNECT_TIMEOUT_MS ?? 20000)
	})
	sock.ev.on('creds.update', saveCreds)
	sock.ev.on('connection.update', async update => {
		if (update.qr && PAIR_NUMBER) {
			say({ event: 'code', code: await sock.requestPairingCode(PAIR_NUMBER) })
		} else if (update.qr) {
			say({ event: 'qr', qr: update.qr })
		}
		if (update.connection === 'open') say({ event: 'open', me: sock.user })
		if (update.connection === 'close') {
			const code = update.lastDisconnect?.error?.output?.statusCode ?? 0
			say({ event: 'close', code })
			if (!stopping && (code === 515 || RECONNECT !== 'no')) setTimeout(start, code === 515 ? 0 : Number(RECONNECT_MS ?? 100))
		}
	})
	sock.ev.on('messages.upsert', async ({ messages }) => {
		for (const { key, message } of messages) {
			const text = textOf(message)
			if (key.fromMe || text === undefined) continue
			say({ event: 'text', from: key.remoteJid, alt: key.remoteJidAlt, text })
			if (!text.startsWith('echo: ')) await sock.sendMessage(key.remoteJid, { text: 'echo: ' + text })
		}
	})
}

if (ORDERS !== 'no') {
	createInterface({ input: process.stdin })
		.on('line', async line => {
			const order = JSON.parse(line)
			if (order.do === 'send') {
				await sock.sendMessage(order.to + '@s.whatsapp.net', { text: order.text })
				say({ event: 'sent', text: order.text })
			}
			if (order.do === 'stop') {
				stopping = true
				await sock.end()
				process.exit(0)
			}
		})
		// Whoever started it is gone.
		.on('close', () => process.exit(0))
}

await start()
