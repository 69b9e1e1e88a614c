// Uploads a file with tus-js-client, as a web page or a Node program would.
//
//   node tus-upload.mjs '{"endpoint": …, "token": …, "file": …, "chunkSize": …, "parallelUploads": …,
//                         "breakAfterBytes": …, "uploadLengthDeferred": …}'
//
// With breakAfterBytes the first attempt is aborted there, without a word to the server, and a second Upload object resumes it.
// Prints one line of JSON: {"url", "item", "receipt", "offsetAtResume"}.
import { createReadStream, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { createRequire } from 'node:module'
import { PassThrough } from 'node:stream'

// The packages lie where scripts/setup put them, not beside this file.
const require = createRequire(process.env.EXHIBIT_NPM + '/package.json')
const tus = require('tus-js-client')

const wanted = JSON.parse(process.argv[2])
const seen = {}

function options(more) {
  return {
    endpoint: wanted.endpoint,
    headers: { Authorization: `Bearer ${wanted.token}` },
    metadata: { filename: basename(wanted.file), filetype: 'video/mp4' },
    chunkSize: wanted.chunkSize ?? Infinity,
    parallelUploads: wanted.parallelUploads ?? 1,
    uploadLengthDeferred: wanted.uploadLengthDeferred ?? false,
    uploadDataDuringCreation: wanted.uploadDataDuringCreation ?? false,
    retryDelays: [0, 100, 500],
    onAfterResponse(request, response) {
      seen.item = response.getHeader('Exhibit-Item') ?? seen.item
      seen.receipt = response.getHeader('Exhibit-Receipt') ?? seen.receipt
      if (request.getMethod() === 'HEAD') seen.offsetAtResume = Number(response.getHeader('Upload-Offset'))
    },
    ...more,
  }
}

// Several parallel uploads need bytes that can be cut; a deferred length is for a stream of which nobody knows the end.
function source() {
  if (wanted.parallelUploads > 1) return readFileSync(wanted.file)
  const file = createReadStream(wanted.file)
  return wanted.uploadLengthDeferred ? file.pipe(new PassThrough()) : file
}

function uploadToTheEnd(more) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(source(), options({ ...more, onError: reject, onSuccess: () => resolve(upload.url) }))
    upload.start()
  })
}

function uploadAndBreak(afterBytes) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(source(), options({
      onError: reject,
      onSuccess: () => reject(new Error('it finished before it could be broken')),
      onProgress: (sent) => {
        if (sent >= afterBytes && upload.url) upload.abort().then(() => resolve(upload.url), reject)
      },
    }))
    upload.start()
  })
}

const uploadUrl = wanted.breakAfterBytes ? await uploadAndBreak(wanted.breakAfterBytes) : null
const url = await uploadToTheEnd({ uploadUrl })
console.log(JSON.stringify({ url, ...seen }))
