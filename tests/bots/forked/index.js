'use strict'
const { fork } = require('child_process')
const path = require('path')

let bot

function start() {
  bot = fork(path.join(__dirname, 'main.js'))
  bot.on('exit', (code) => {
    console.log(`main.js ended with ${code}, starting it again`)
    setTimeout(start, 1000)
  })
}

start()
