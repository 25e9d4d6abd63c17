// Hands the outputs of EfficientNMS_TRT to DeepStream: corners in the input's pixels become its objects.
//
// Written from DeepStream's published interface (nvdsinfer_custom_impl.h); not compiled against it where this bundle
// was made.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "nvdsinfer_custom_impl.h"

namespace {

const void *find(std::vector<NvDsInferLayerInfo> const &layers, const char *name) {
  for (auto const &layer : layers) {
    if (layer.layerName && std::strcmp(layer.layerName, name) == 0) return layer.buffer;
  }
  return nullptr;
}

float within(float value, float limit) { return std::max(0.0f, std::min(value, limit)); }

}  // namespace

extern "C" bool NvDsInferParseEdgehone(std::vector<NvDsInferLayerInfo> const &layers,
                                       NvDsInferNetworkInfo const &network,
                                       NvDsInferParseDetectionParams const &asked,
                                       std::vector<NvDsInferObjectDetectionInfo> &objects) {
  auto count = static_cast<const std::int32_t *>(find(layers, "num_detections"));
  auto boxes = static_cast<const float *>(find(layers, "detection_boxes"));
  auto scores = static_cast<const float *>(find(layers, "detection_scores"));
  auto classes = static_cast<const std::int32_t *>(find(layers, "detection_classes"));
  if (!count || !boxes || !scores || !classes) return false;
  const float right = static_cast<float>(network.width), bottom = static_cast<float>(network.height);
  for (std::int32_t k = 0; k < count[0]; ++k) {
    const float *box = boxes + 4 * k;
    if (classes[k] < 0 || static_cast<unsigned>(classes[k]) >= asked.numClassesConfigured) continue;
    if (scores[k] < asked.perClassPreclusterThreshold[classes[k]]) continue;
    const float left = within(box[0], right), top = within(box[1], bottom);
    const float width = within(box[2], right) - left, height = within(box[3], bottom) - top;
    if (width <= 0.0f || height <= 0.0f) continue;
    NvDsInferObjectDetectionInfo object{};
    object.classId = static_cast<unsigned>(classes[k]);
    object.left = left;
    object.top = top;
    object.width = width;
    object.height = height;
    object.detectionConfidence = scores[k];
    objects.push_back(object);
  }
  return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseEdgehone);
