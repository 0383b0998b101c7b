/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Packet protection by libcrypto. A cipher context is made once per key and gets a new nonce for each packet. */
#include "keys.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct mpquic_key {
    EVP_CIPHER_CTX *packet;
    EVP_CIPHER_CTX *header;
    bool chacha;
    uint8_t iv[NONCE];
};

int mpquic_abi(void) { return MPQUIC_ABI; }

struct mpquic_key *mpquic_key_new(
    int suite, int sealing, const uint8_t *key, const uint8_t *iv, const uint8_t *protection)
{
    const EVP_CIPHER *packet, *header;
    switch (suite) {
    case MPQUIC_AES_128_GCM:
        packet = EVP_aes_128_gcm();
        header = EVP_aes_128_ecb();
        break;
    case MPQUIC_AES_256_GCM:
        packet = EVP_aes_256_gcm();
        header = EVP_aes_256_ecb();
        break;
    case MPQUIC_CHACHA20_POLY1305:
        packet = EVP_chacha20_poly1305();
        header = EVP_chacha20();
        break;
    default:
        return NULL;
    }
    struct mpquic_key *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->chacha = suite == MPQUIC_CHACHA20_POLY1305;
    memcpy(made->iv, iv, NONCE);
    made->packet = EVP_CIPHER_CTX_new();
    made->header = EVP_CIPHER_CTX_new();
    if (made->packet == NULL || made->header == NULL
        || EVP_CipherInit_ex(made->packet, packet, NULL, key, NULL, sealing != 0) != 1
        || EVP_EncryptInit_ex(made->header, header, NULL, protection, NULL) != 1
        || EVP_CIPHER_CTX_set_padding(made->header, 0) != 1) {
        mpquic_key_free(made);
        return NULL;
    }
    return made;
}

void mpquic_key_free(struct mpquic_key *key)
{
    if (key == NULL)
        return;
    EVP_CIPHER_CTX_free(key->packet);
    EVP_CIPHER_CTX_free(key->header);
    free(key);
}

/* RFC 9001 section 5.3: the packet number in the last bytes of the IV. */
static void nonce_of(const struct mpquic_key *key, uint64_t number, uint8_t *nonce)
{
    memcpy(nonce, key->iv, NONCE);
    for (int i = 0; i < 8; i++)
        nonce[NONCE - 1 - i] ^= (uint8_t)(number >> 8 * i);
}

bool key_seal(struct mpquic_key *key, uint64_t number, struct span header, struct span plain, uint8_t *out)
{
    EVP_CIPHER_CTX *context = key->packet;
    uint8_t nonce[NONCE];
    int done;
    nonce_of(key, number, nonce);
    return EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) == 1
        && EVP_EncryptUpdate(context, NULL, &done, header.at, (int)header.size) == 1
        && EVP_EncryptUpdate(context, out, &done, plain.at, (int)plain.size) == 1
        && EVP_EncryptFinal_ex(context, out + plain.size, &done) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, out + plain.size) == 1;
}

bool key_open(struct mpquic_key *key, uint64_t number, struct span header, struct span sealed, uint8_t *out)
{
    EVP_CIPHER_CTX *context = key->packet;
    uint8_t nonce[NONCE], tag[TAG];
    size_t size = sealed.size - TAG;
    int done;
    nonce_of(key, number, nonce);
    memcpy(tag, sealed.at + size, TAG);
    /* Without a byte to decrypt, Update would be told that these are associated data. */
    return EVP_DecryptInit_ex(context, NULL, NULL, NULL, nonce) == 1
        && EVP_DecryptUpdate(context, NULL, &done, header.at, (int)header.size) == 1
        && (size == 0 || EVP_DecryptUpdate(context, out, &done, sealed.at, (int)size) == 1)
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1
        && EVP_DecryptFinal_ex(context, out + size, &done) == 1;
}

bool key_masks(struct mpquic_key *key, const uint8_t *samples, uint32_t count, uint8_t *masks)
{
    static const uint8_t zeros[SAMPLE];
    int done;
    if (!key->chacha)
        return EVP_EncryptUpdate(key->header, masks, &done, samples, (int)(SAMPLE * count)) == 1;
    /* A sample is the block counter and the nonce (RFC 9001 section 5.4.4), as libcrypto takes them. */
    for (uint32_t i = 0; i < count; i++)
        if (EVP_EncryptInit_ex(key->header, NULL, NULL, NULL, samples + SAMPLE * i) != 1
            || EVP_EncryptUpdate(key->header, masks + SAMPLE * i, &done, zeros, SAMPLE) != 1)
            return false;
    return true;
}
