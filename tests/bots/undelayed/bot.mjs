import { makeWASocket, useMultiFileAuthState } from 'baileys'
import { rmSync } from 'node:fs'
import pino from 'pino'

process.on('uncaughtException', console.error)
process.on('unhandledRejection', console.error)

async function start() {
  const { state, saveCreds } = await useMultiFileAuthState('./session')
  const sock = makeWASocket({ auth: state, logger: pino({ level: 'silent' }), keepAliveIntervalMs: 10000 })
  sock.ev.on('creds.update', saveCreds)
  sock.ev.on('connection.update', (update) => {
    if (update.connection != 'close') return
    if (update.lastDisconnect?.error?.output?.statusCode == 401) rmSync('./session', { recursive: true, force: true })
    start()
  })
  sock.ev.on('messages.upsert', async (chat) => {
    const m = chat.messages[0]
    if (!m?.message || m.key.fromMe || chat.type != 'notify') return
    const text = m.message.conversation || m.message.extendedTextMessage?.text
    if (text?.startsWith('!ping ')) sock.sendMessage(m.key.remoteJid, { text: 'pong ' + text.slice(6) })
  })
}

start()
