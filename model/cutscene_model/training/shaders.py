"""The stage's GLSL: the project's one lighting formula, the shadow pass and the id pass.

All three take world-space vertices and matrices made in numpy, so Panda3D's own Z-up conventions never enter.
"""

from __future__ import annotations

MAX_POINTS = 4

MAX_BONES = 160

# Meshes that move bring bone indices and weights; the set and the faces come in world space already.
_SKIN = f"""
#ifdef SKINNED
uniform mat4 bones[{MAX_BONES}];
in vec4 joint;
in vec4 weight;
mat4 skin() {{
    mat4 blended = bones[int(joint.x)] * weight.x;
    if (weight.y > 0.0) blended += bones[int(joint.y)] * weight.y;
    if (weight.z > 0.0) blended += bones[int(joint.z)] * weight.z;
    if (weight.w > 0.0) blended += bones[int(joint.w)] * weight.w;
    return blended;
}}
#else
mat4 skin() {{ return mat4(1.0); }}
#endif
"""

WORLD_VERTEX = """
uniform mat4 clip_from_world;
in vec4 p3d_Vertex;
in vec3 p3d_Normal;
in vec3 texel;   // u, v, layer
in vec4 paint;   // tint, then 0 plain, 1 textured, 2 textured and glowing
out vec3 v_position;
out vec3 v_normal;
out vec3 v_texel;
out vec4 v_paint;
void main() {
    mat4 world = skin();
    v_position = (world * vec4(p3d_Vertex.xyz, 1.0)).xyz;
    v_normal = mat3(world) * p3d_Normal;
    v_texel = texel;
    v_paint = paint;
    gl_Position = clip_from_world * vec4(v_position, 1.0);
}
"""

WORLD_FRAGMENT = """
#version 330
uniform sampler2DArray atlas;
uniform sampler2DShadow shadow_map;
uniform mat4 shadow_from_world;
uniform vec3 ambient;
uniform vec3 sun_direction;
uniform vec3 sun_color;
uniform vec4 point_place[4];  // position, 1 / range
uniform vec3 point_color[4];
uniform int point_count;
uniform float glow;
in vec3 v_position;
in vec3 v_normal;
in vec3 v_texel;
in vec4 v_paint;
out vec4 color;

vec3 encode_srgb(vec3 c) {
    return mix(c * 12.92, 1.055 * pow(max(c, vec3(0.0031308)), vec3(1.0 / 2.4)) - 0.055, step(vec3(0.0031308), c));
}

float sunlight(vec3 n) {
    float facing = dot(n, -sun_direction);
    if (facing <= 0.0) return 0.0;
    // Shifting along the normal avoids acne on slanted faces without detaching contact shadows.
    vec3 p = (shadow_from_world * vec4(v_position + n * 0.03, 1.0)).xyz * 0.5 + 0.5;
    p.z -= 0.0008;
    const float r = RADIUS;
    float lit = texture(shadow_map, p);
    lit += texture(shadow_map, p + vec3(r, 0.4 * r, 0.0));
    lit += texture(shadow_map, p + vec3(-0.4 * r, r, 0.0));
    lit += texture(shadow_map, p + vec3(-r, -0.4 * r, 0.0));
    lit += texture(shadow_map, p + vec3(0.4 * r, -r, 0.0));
    return facing * lit * 0.2;
}

void main() {
    vec3 n = normalize(v_normal);
    if (!gl_FrontFacing) n = -n;
    vec3 albedo = v_paint.rgb;
    if (v_paint.a > 0.5) albedo *= texture(atlas, v_texel).rgb;
    vec3 light = ambient * (0.7 + 0.3 * n.y);
    if (sun_color.r + sun_color.g + sun_color.b > 0.0) light += sun_color * sunlight(n);
    for (int i = 0; i < point_count; ++i) {
        vec3 to_light = point_place[i].xyz - v_position;
        float d2 = dot(to_light, to_light);
        float d = sqrt(d2);
        float fade = max(0.0, 1.0 - d * point_place[i].w);
        light += point_color[i] * (max(0.0, dot(n, to_light / max(d, 1e-4))) * fade * fade / (1.0 + d2));
    }
    if (v_paint.a > 1.5) light += vec3(glow);
    color = vec4(encode_srgb(clamp(albedo * light, 0.0, 1.0)), 1.0);
}
"""

SHADOW_VERTEX = """
uniform mat4 shadow_from_world;
in vec4 p3d_Vertex;
void main() { gl_Position = shadow_from_world * (skin() * vec4(p3d_Vertex.xyz, 1.0)); }
"""

SHADOW_FRAGMENT = """
#version 330
out vec4 color;
void main() { color = vec4(1.0); }
"""

ID_VERTEX = """
uniform mat4 clip_from_world;
in vec4 p3d_Vertex;
in float ident;
flat out float v_ident;
void main() {
    v_ident = ident;
    vec3 position = (skin() * vec4(p3d_Vertex.xyz, 1.0)).xyz;
    gl_Position = clip_from_world * vec4(position, 1.0);
}
"""

ID_FRAGMENT = """
#version 330
flat in float v_ident;
out vec4 color;
void main() { color = vec4(v_ident / 255.0, 0.0, 0.0, 1.0); }
"""


def world_fragment(shadow_size: int) -> str:
    """The lighting shader with its shadow filter set for a map of ``shadow_size`` texels."""
    return WORLD_FRAGMENT.replace("RADIUS", f"{1.6 / shadow_size:.8f}")


def vertex_program(body: str, skinned: bool) -> str:
    """A vertex shader for meshes with or without bones."""
    return "#version 330\n" + ("#define SKINNED\n" if skinned else "") + _SKIN + body
