// The bot in a process that a CommonJS program starts, as process managers do.
'use strict'
const { fork } = require('node:child_process')
const { join } = require('node:path')

fork(join(__dirname, 'bot.mjs')).on('exit', code => process.exit(code ?? 1))
