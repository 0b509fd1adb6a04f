// The helpers of the differential programs.
#include "../programs/test.h"
