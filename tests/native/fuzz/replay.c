/* Runs a fuzz target over files, without a fuzzer: under valgrind, or with the sanitizers of any compiler. */

#include "check.h"

int main(int count, char **paths)
{
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "rb");
        CHECK(file);
        CHECK(!fseek(file, 0, SEEK_END));
        const long size = ftell(file);
        CHECK(size >= 0);
        rewind(file);
        uint8_t *data = exactly((size_t)size);
        CHECK(fread(data, 1, (size_t)size, file) == (size_t)size);
        fclose(file);
        LLVMFuzzerTestOneInput(data, (size_t)size);
        free(data);
    }
    printf("%d inputs\n", count - 1);
    return 0;
}
