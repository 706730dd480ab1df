variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "images" {
  description = "Images, one repository each."
  type        = set(string)

  validation {
    condition     = length(var.images) > 0 && alltrue([for image in var.images : can(regex("^[a-z][a-z0-9-]*$", image))])
    error_message = "Name at least one image, in lower-case letters, digits and dashes."
  }
}

variable "key_arn" {
  description = "KMS key of the layers."
  type        = string
}

variable "kept_releases" {
  description = "Tagged images that are kept."
  type        = number
  default     = 50

  validation {
    condition     = var.kept_releases >= 5
    error_message = "Keep at least five images: a rollback needs them."
  }
}

variable "untagged_days" {
  description = "Days after which an image without a tag goes."
  type        = number
  default     = 7
}

variable "deletable_with_images" {
  description = "Whether a repository may be deleted while it has images."
  type        = bool
}
