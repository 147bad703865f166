-- Standard base64 in tables, compiled by LuaJIT: twice as fast as EVP_EncodeBlock and EVP_DecodeBlock
-- (figures in benches/README.md). Works on pointers; allocates nothing; refuses every foreign character.

local ffi = require "ffi"
local bit = require "bit"

local band, bor, bswap, lshift, rshift = bit.band, bit.bor, bit.bswap, bit.lshift, bit.rshift
local cast = ffi.cast
local u8 = ffi.typeof("uint8_t *")
local c8 = ffi.typeof("const uint8_t *")
local c16 = ffi.typeof("const uint16_t *")
local c32 = ffi.typeof("const uint32_t *")
local u16 = ffi.typeof("uint16_t *")
local u32 = ffi.typeof("uint32_t *")

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local PAD = 61
local FOREIGN = lshift(1, 31)

-- Twelve bits to two characters.
local PAIR = ffi.new("uint16_t[4096]")
for i = 0, 4095 do
    PAIR[i] = ALPHABET:byte(rshift(i, 6) + 1) + 256 * ALPHABET:byte(band(i, 63) + 1)
end

-- Two characters to their share of three bytes, already in memory order; FOREIGN where one is not of the alphabet.
local FIRST = ffi.new("uint32_t[65536]")
local SECOND = ffi.new("uint32_t[65536]")
ffi.fill(FIRST, 4 * 65536, 0x80)
ffi.fill(SECOND, 4 * 65536, 0x80)
for i = 0, 63 do
    for j = 0, 63 do
        local chars = ALPHABET:byte(i + 1) + 256 * ALPHABET:byte(j + 1)
        local twelve = bor(lshift(i, 6), j)
        FIRST[chars] = rshift(bswap(lshift(twelve, 12)), 8)
        SECOND[chars] = rshift(bswap(twelve), 8)
    end
end

local base64 = {}

-- Writes the text of `len` bytes to `to` and gives its length. Reads up to one byte behind `from + len`.
function base64.encode(to, from, len)
    local out = cast(u16, to)
    local src = cast(c8, from)
    local at = 0
    local whole = len - len % 12
    for i = 0, whole - 12, 12 do
        local a = bswap(cast(c32, src + i)[0])
        local b = bswap(cast(c32, src + i + 3)[0])
        local c = bswap(cast(c32, src + i + 6)[0])
        local d = bswap(cast(c32, src + i + 9)[0])
        out[at] = PAIR[rshift(a, 20)]
        out[at + 1] = PAIR[band(rshift(a, 8), 4095)]
        out[at + 2] = PAIR[rshift(b, 20)]
        out[at + 3] = PAIR[band(rshift(b, 8), 4095)]
        out[at + 4] = PAIR[rshift(c, 20)]
        out[at + 5] = PAIR[band(rshift(c, 8), 4095)]
        out[at + 6] = PAIR[rshift(d, 20)]
        out[at + 7] = PAIR[band(rshift(d, 8), 4095)]
        at = at + 8
    end
    local i = whole
    while len - i >= 3 do
        local a = bor(lshift(src[i], 16), lshift(src[i + 1], 8), src[i + 2])
        out[at] = PAIR[rshift(a, 12)]
        out[at + 1] = PAIR[band(a, 4095)]
        at = at + 2
        i = i + 3
    end
    if len - i == 1 then
        out[at] = PAIR[lshift(src[i], 4)]
        out[at + 1] = PAD + 256 * PAD
        at = at + 2
    elseif len - i == 2 then
        local a = bor(lshift(src[i], 16), lshift(src[i + 1], 8))
        out[at] = PAIR[rshift(a, 12)]
        out[at + 1] = bor(band(PAIR[band(a, 4095)], 255), 256 * PAD)
        at = at + 2
    end
    return 2 * at
end

-- Writes the bytes of a text of `len` characters to `to` and gives their number, or nil for a text that is not
-- base64. Writes up to one byte behind them.
function base64.decode(to, from, len)
    if len % 4 ~= 0 then
        return nil
    end
    if len == 0 then
        return 0
    end
    local src = cast(c8, from)
    local out = cast(u8, to)
    local pads = src[len - 1] ~= PAD and 0 or src[len - 2] ~= PAD and 1 or 2
    local plain = pads == 0 and len or len - 4
    local seen = 0
    local whole = plain - plain % 8
    local at = 0
    for i = 0, whole - 8, 8 do
        local p = cast(c16, src + i)
        local a = bor(FIRST[p[0]], SECOND[p[1]])
        local b = bor(FIRST[p[2]], SECOND[p[3]])
        seen = bor(seen, a, b)
        cast(u32, out + at)[0] = a
        cast(u32, out + at + 3)[0] = b
        at = at + 6
    end
    if whole < plain then
        local p = cast(c16, src + whole)
        local a = bor(FIRST[p[0]], SECOND[p[1]])
        seen = bor(seen, a)
        cast(u32, out + at)[0] = a
        at = at + 3
    end
    if pads > 0 then
        local third = pads == 1 and src[len - 2] or 65
        local a = bor(FIRST[src[len - 4] + 256 * src[len - 3]], SECOND[third + 256 * 65])
        seen = bor(seen, a)
        out[at] = band(a, 255)
        at = at + 1
        if pads == 1 then
            out[at] = band(rshift(a, 8), 255)
            at = at + 1
        end
    end
    if band(seen, FOREIGN) ~= 0 then
        return nil
    end
    return at
end

return base64
