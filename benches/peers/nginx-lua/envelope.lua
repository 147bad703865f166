-- The platform's scheme over OpenSSL by FFI: SHA-256 of the plaintext, AES-ECB with zero padding, base64.
-- Cipher contexts are made once and reused; nothing here waits, so one set of buffers serves every call.

local ffi = require "ffi"
local bit = require "bit"

ffi.cdef [[
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
const EVP_CIPHER *EVP_aes_128_ecb(void);
const EVP_CIPHER *EVP_aes_192_ecb(void);
const EVP_CIPHER *EVP_aes_256_ecb(void);
int EVP_CipherInit_ex(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *engine, const char *key, const char *iv, int enc);
int EVP_CIPHER_CTX_set_padding(EVP_CIPHER_CTX *, int pad);
int EVP_EncryptUpdate(EVP_CIPHER_CTX *, uint8_t *out, int *outl, const uint8_t *in, int inl);
int EVP_DecryptUpdate(EVP_CIPHER_CTX *, uint8_t *out, int *outl, const uint8_t *in, int inl);
typedef struct { uint32_t room[64]; } PEER_SHA256_CTX;
int SHA256_Init(PEER_SHA256_CTX *);
int SHA256_Update(PEER_SHA256_CTX *, const void *data, size_t len);
int SHA256_Final(uint8_t *md, PEER_SHA256_CTX *);
int EVP_EncodeBlock(uint8_t *to, const uint8_t *from, int len);
int EVP_DecodeBlock(uint8_t *to, const uint8_t *from, int len);
int memcmp(const void *, const void *, size_t);
]]

local C = ffi.C
local band, bnot = bit.band, bit.bnot
local cast, copy, fill, text_of = ffi.cast, ffi.copy, ffi.fill, ffi.string
local c8 = ffi.typeof("const uint8_t *")

local envelope = {}

-- Plaintext bytes that one buffer holds; longer bodies go through in slices of this many.
-- A multiple of 48, so a slice is whole blocks and its text needs no carry; and 4/3 of it stays
-- below 128 KiB, above which LuaJIT maps and unmaps every string.
local SLICE = 96000
envelope.SLICE = SLICE
envelope.SLICE_TEXT = SLICE / 3 * 4
-- The largest body that goes through whole: its text, padding included, fits the buffers.
envelope.WHOLE = 96 * 1024 - 16

local AES = { [16] = "EVP_aes_128_ecb", [24] = "EVP_aes_192_ecb", [32] = "EVP_aes_256_ecb" }

local function cipher(key, enc)
    local kind = assert(AES[#key], "the AES key must have 16, 24 or 32 bytes")
    local ctx = C.EVP_CIPHER_CTX_new()
    assert(C.EVP_CipherInit_ex(ctx, C[kind](), nil, key, nil, enc) == 1)
    assert(C.EVP_CIPHER_CTX_set_padding(ctx, 0) == 1)
    return ctx
end

-- Chooses the base64 that is used: "table", "openssl" or "nginx".
local encode, decode
local function pick_base64(name)
    if name == "table" then
        local base64 = require "base64"
        encode, decode = base64.encode, base64.decode
    elseif name == "openssl" then
        encode = C.EVP_EncodeBlock
        decode = function(to, from, len)
            local n = C.EVP_DecodeBlock(to, from, len)
            local src = cast(c8, from)
            if n < 0 or len % 4 ~= 0 then
                return nil
            end
            if len > 0 and src[len - 1] == 61 then
                n = n - (src[len - 2] == 61 and 2 or 1)
            end
            return n
        end
    else
        ffi.cdef [[
        size_t ngx_http_lua_ffi_encode_base64(const uint8_t *src, size_t len, uint8_t *dst, int no_padding);
        int ngx_http_lua_ffi_decode_base64(const uint8_t *src, size_t len, uint8_t *dst, size_t *dlen);
        ]]
        local dlen = ffi.new("size_t[1]")
        encode = function(to, from, len)
            return tonumber(C.ngx_http_lua_ffi_encode_base64(from, len, to, 0))
        end
        decode = function(to, from, len)
            if C.ngx_http_lua_ffi_decode_base64(from, len, to, dlen) == 0 then
                return nil
            end
            return tonumber(dlen[0])
        end
    end
end

local enc, dec
function envelope.init(key, base64)
    enc, dec = cipher(key, 1), cipher(key, 0)
    pick_base64(base64)
end

local sha = ffi.new("PEER_SHA256_CTX")
local digest = ffi.new("uint8_t[32]")
local hex = ffi.new("uint16_t[32]")
local outl = ffi.new("int[1]")
local last = ffi.new("uint8_t[16]")
local secret = ffi.new("uint8_t[?]", 128 * 1024)
-- Where a text is made before it becomes a string.
local wire = ffi.new("uint8_t[?]", 192 * 1024)
envelope.wire = wire

local HEX = ffi.new("uint16_t[256]")
for i = 0, 255 do
    local pair = string.format("%02x", i)
    HEX[i] = pair:byte(1) + 256 * pair:byte(2)
end

local function hex_of_digest()
    for i = 0, 31 do
        hex[i] = HEX[digest[i]]
    end
end

-- The `Signed` header of `len` bytes.
function envelope.signed(from, len)
    C.SHA256_Init(sha)
    C.SHA256_Update(sha, from, len)
    C.SHA256_Final(digest, sha)
    hex_of_digest()
    return text_of(hex, 64)
end

-- Seals `len` bytes, at most WHOLE, and writes their text to `to`. Gives the text's length.
local function seal(to, from, len)
    local src = cast(c8, from)
    local whole = band(len, bnot(15))
    if whole > 0 then
        C.EVP_EncryptUpdate(enc, secret, outl, src, whole)
    end
    fill(last, 16)
    copy(last, src + whole, len - whole)
    C.EVP_EncryptUpdate(enc, secret + whole, outl, last, 16)
    return encode(to, secret, whole + 16)
end
envelope.seal = seal

-- Opens a text of at most WHOLE bytes. Gives the plaintext, or nil and why.
function envelope.open(from, len, signed)
    local n = decode(secret, from, len)
    if not n then
        return nil, "base64"
    end
    if n == 0 or band(n, 15) ~= 0 then
        return nil, "length"
    end
    C.EVP_DecryptUpdate(dec, secret, outl, secret, n)
    while n > 0 and secret[n - 1] == 0 do
        n = n - 1
    end
    C.SHA256_Init(sha)
    C.SHA256_Update(sha, secret, n)
    C.SHA256_Final(digest, sha)
    hex_of_digest()
    if #signed ~= 64 or C.memcmp(hex, signed, 64) ~= 0 then
        return nil, "digest"
    end
    return text_of(secret, n)
end

-- A body in slices. Each call in flight has its own, because it waits between slices.

local Sealer = {}
Sealer.__index = Sealer

function envelope.sealer()
    return setmetatable({ sha = ffi.new("PEER_SHA256_CTX"), texts = {}, len = 0 }, Sealer)
end

-- Takes SLICE bytes, or fewer for the last slice.
function Sealer:push(slice, is_last)
    if self.len == 0 and #self.texts == 0 then
        C.SHA256_Init(self.sha)
    end
    C.SHA256_Update(self.sha, slice, #slice)
    local n
    if is_last then
        n = seal(wire, slice, #slice)
    else
        C.EVP_EncryptUpdate(enc, secret, outl, slice, #slice)
        n = encode(wire, secret, #slice)
    end
    self.texts[#self.texts + 1] = text_of(wire, n)
    self.len = self.len + n
end

function Sealer:signed()
    C.SHA256_Final(digest, self.sha)
    hex_of_digest()
    return text_of(hex, 64)
end

local Opener = {}
Opener.__index = Opener

function envelope.opener()
    local o = setmetatable({ sha = ffi.new("PEER_SHA256_CTX"), plains = {}, len = 0, zeros = 0 }, Opener)
    C.SHA256_Init(o.sha)
    return o
end

local ZEROS = string.rep("\0", 4096)

-- Takes SLICE_TEXT characters, or fewer for the last slice. Zero bytes at the end of a slice wait: they are
-- plaintext if more follows and padding if not. Gives false and why for a slice that is not sealed text.
function Opener:push(slice)
    local n = decode(secret, slice, #slice)
    if not n then
        return false, "base64"
    end
    if n == 0 or band(n, 15) ~= 0 then
        return false, "length"
    end
    C.EVP_DecryptUpdate(dec, secret, outl, secret, n)
    local whole = n
    while n > 0 and secret[n - 1] == 0 do
        n = n - 1
    end
    if n > 0 then
        while self.zeros > 0 do
            local run = math.min(self.zeros, #ZEROS)
            local zeros = run == #ZEROS and ZEROS or ZEROS:sub(1, run)
            C.SHA256_Update(self.sha, zeros, run)
            self.plains[#self.plains + 1] = zeros
            self.len = self.len + run
            self.zeros = self.zeros - run
        end
        C.SHA256_Update(self.sha, secret, n)
        self.plains[#self.plains + 1] = text_of(secret, n)
        self.len = self.len + n
    end
    self.zeros = self.zeros + whole - n
    return true
end

function Opener:agrees(signed)
    C.SHA256_Final(digest, self.sha)
    hex_of_digest()
    return #signed == 64 and C.memcmp(hex, signed, 64) == 0
end

return envelope
