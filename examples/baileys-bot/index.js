// A small bot as Baileys' documentation shows it. It knows nothing of blacksky.
import makeWASocket, { DisconnectReason, useMultiFileAuthState } from 'baileys'
import pino from 'pino'
import qrcode from 'qrcode-terminal'

const commands = {
	'!ping': () => 'pong',
	'!echo': words => words.join(' '),
	'!uptime': () => `up for ${Math.round(process.uptime())} s`,
	'!help': () => `I know ${Object.keys(commands).join(', ')}`
}

async function start() {
	const { state, saveCreds } = await useMultiFileAuthState('sessions')
	const sock = makeWASocket({ auth: state, logger: pino({ level: 'error' }), syncFullHistory: false })

	sock.ev.on('creds.update', saveCreds)

	sock.ev.on('connection.update', ({ connection, lastDisconnect, qr }) => {
		if (qr) {
			console.log('Scan this with WhatsApp (Linked devices):')
			qrcode.generate(qr, { small: true })
		}
		if (connection === 'open') console.log('Connected as', sock.user?.name ?? 'a linked device')
		if (connection === 'close') {
			const code = lastDisconnect?.error?.output?.statusCode
			if (code === DisconnectReason.loggedOut) {
				console.log('Logged out: remove the session and scan again')
				process.exit(1)
			}
			console.log('Connection closed, trying again:', code)
			setTimeout(start, 1000)
		}
	})

	sock.ev.on('messages.upsert', async ({ messages, type }) => {
		if (type !== 'notify') return
		for (const { key, message } of messages) {
			if (key.fromMe) continue
			const text = message?.conversation ?? message?.extendedTextMessage?.text ?? ''
			const [name, ...words] = text.trim().split(/\s+/)
			const command = Object.hasOwn(commands, name) && commands[name]
			if (command) await sock.sendMessage(key.remoteJid, { text: command(words) })
		}
	})
}

start()
